-- Names of queues that transactions have noted as begun, and that have no row, up to $1.
SELECT DISTINCT b.name FROM (SELECT name FROM pgqueue.begun_queue LIMIT $1) b
