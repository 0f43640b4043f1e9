-- Merges the counter rows of each queue and kind into one, up to $1 rows.
WITH crowded AS (
    SELECT c.queue, c.here
      FROM pgqueue.counter c
      JOIN pgqueue.queue q ON q.id = c.queue
     GROUP BY c.queue, c.here
    HAVING count(*) > 1
     LIMIT $1
), page AS (
    SELECT c.ctid
      FROM pgqueue.counter c
     WHERE (c.queue, c.here) IN (SELECT queue, here FROM crowded)
     LIMIT $1
       FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM pgqueue.counter c USING page WHERE c.ctid = page.ctid RETURNING c.*
), added AS (
    INSERT INTO pgqueue.counter (queue, pushed, delivered, deleted, retried, died, expired,
                                 ready, leased, delayed, blocked, dead, here)
    SELECT g.queue, sum(pushed), sum(delivered), sum(deleted), sum(retried), sum(died), sum(expired),
           sum(ready), sum(leased), sum(delayed), sum(blocked), sum(dead), g.here
      FROM gone g
      JOIN pgqueue.queue q ON q.id = g.queue
     GROUP BY g.queue, g.here
)
SELECT count(*) FROM gone
