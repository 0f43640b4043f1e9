-- Up to $2 dropped queues after $1.
SELECT queue FROM pgqueue.dropped_queue WHERE queue > $1 ORDER BY queue LIMIT $2
