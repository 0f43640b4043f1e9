-- Adds up to $1 counter rows together, a row a queue, once they are many.
WITH page AS (
    SELECT ctid FROM pgqueue.counter LIMIT $1 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM pgqueue.counter c
     USING page
     WHERE c.ctid = page.ctid
       AND (SELECT count(*) FROM page) > (SELECT count(*) * 2 FROM pgqueue.queue)
    RETURNING c.*
), added AS (
    INSERT INTO pgqueue.counter (queue, pushed, delivered, deleted, retried, died, expired)
    SELECT g.queue, sum(pushed), sum(delivered), sum(deleted), sum(retried), sum(died), sum(expired)
      FROM gone g
      JOIN pgqueue.queue q ON q.id = g.queue
     GROUP BY g.queue
)
SELECT count(*) FROM gone
