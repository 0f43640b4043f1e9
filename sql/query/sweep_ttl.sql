-- Drops what outlived its time to live and is not leased, and counts it by queue.
WITH outlived AS (
    SELECT id FROM pgqueue.message
     WHERE expires_at <= $1 AND lease_until <= $1
     ORDER BY expires_at
     LIMIT $2
       FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM pgqueue.message m USING outlived WHERE m.id = outlived.id RETURNING m.queue
), counted AS (
    INSERT INTO pgqueue.counter (queue, expired) SELECT queue, count(*) FROM gone GROUP BY queue
)
SELECT count(*) FROM gone
