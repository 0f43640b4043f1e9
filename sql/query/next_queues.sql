-- Up to $2 numbers of queues and topics after $1.
(SELECT id FROM pgqueue.queue WHERE id > $1 ORDER BY id LIMIT $2)
 UNION ALL
(SELECT id FROM pgqueue.topic WHERE id > $1 ORDER BY id LIMIT $2)
 ORDER BY id LIMIT $2
