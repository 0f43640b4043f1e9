-- Names of queues that are noted as begun, in up to $1 notes.
SELECT DISTINCT b.name FROM (SELECT name FROM pgqueue.begun_queue LIMIT $1) b
