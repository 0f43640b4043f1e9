-- Up to $2 queues after $1 that keep dead letters for a set time.
SELECT id FROM pgqueue.queue WHERE id > $1 AND settings ? 'dead_retention' ORDER BY id LIMIT $2
