-- The queues behind $1 that keep dead letters for a time, up to $2.
SELECT id FROM pgqueue.queue WHERE id > $1 AND settings ? 'dead_retention' ORDER BY id LIMIT $2
