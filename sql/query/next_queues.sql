SELECT id FROM pgqueue.queue WHERE id > $1 ORDER BY id LIMIT $2
