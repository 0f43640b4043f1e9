-- Messages whose time has come, of each queue that has delayed ones. The recursion
-- hops from queue to queue along the index instead of reading all that is delayed;
-- locked messages are skipped before they are counted.
WITH RECURSIVE waiting AS (
    (SELECT queue FROM pgqueue.message WHERE lane = 'd' ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT m.queue FROM pgqueue.message m
             WHERE m.lane = 'd' AND m.queue > w.queue ORDER BY m.queue LIMIT 1)
      FROM waiting w
     WHERE w.queue IS NOT NULL
), due AS (
    SELECT d.id
      FROM waiting w,
           LATERAL (SELECT id FROM pgqueue.message
                     WHERE queue = w.queue AND lane = 'd' AND due_at <= $1
                     ORDER BY due_at
                     LIMIT $2
                       FOR NO KEY UPDATE SKIP LOCKED) d
     LIMIT $2
)
UPDATE pgqueue.message SET lane = 'r', due_at = NULL WHERE id = ANY (ARRAY(TABLE due))
