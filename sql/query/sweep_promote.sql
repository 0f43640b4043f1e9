-- Moves up to $2 due messages of the queues $3 to the ready lane. Locked messages are skipped before they are
-- counted. Each queue gets its share of the page, and queues with more due messages get the rest. If there
-- are more queues than messages in a page, their order is random.
WITH turns AS MATERIALIZED (
    SELECT queue FROM unnest($3) AS turn (queue) ORDER BY random()
), share AS MATERIALIZED (
    SELECT greatest(1, $2 / nullif(count(*), 0)) AS size FROM turns
), first AS MATERIALIZED (
    SELECT d.id, t.queue
      FROM turns t,
           LATERAL (SELECT id FROM pgqueue.message
                     WHERE queue = t.queue AND lane = 'd' AND due_at <= $1
                     ORDER BY due_at
                     LIMIT (SELECT size FROM share)
                       FOR NO KEY UPDATE SKIP LOCKED) d
     LIMIT $2
), more AS MATERIALIZED (
    -- Our own locks skip nothing, so the offset skips exactly the messages of `first`.
    SELECT d.id
      FROM (SELECT queue FROM first GROUP BY queue HAVING count(*) >= (SELECT size FROM share)) t,
           LATERAL (SELECT id FROM pgqueue.message
                     WHERE queue = t.queue AND lane = 'd' AND due_at <= $1
                     ORDER BY due_at
                    OFFSET (SELECT size FROM share)
                     LIMIT $2
                       FOR NO KEY UPDATE SKIP LOCKED) d
     LIMIT $2 - (SELECT count(*) FROM first)
)
UPDATE pgqueue.message SET lane = 'r', due_at = NULL
 WHERE id = ANY (ARRAY(SELECT id FROM first UNION ALL SELECT id FROM more))
