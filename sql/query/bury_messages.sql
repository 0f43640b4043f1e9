-- Moves messages to the dead letters, or deletes them if their queue keeps none. An expired message is kept
-- only if its queue says so. A message without a queue, as in the middle of a restore, stays. A message that
-- another transaction has locked is skipped: a caller that needs it holds its lock. With $4 the caller has
-- judged it by a scan: it stays if it is not dead, or dead for another reason, as it is now (`Queue::end_of`).
WITH free AS (
    SELECT id FROM pgqueue.message m
     WHERE id = ANY ($1)
       AND EXISTS (SELECT FROM pgqueue.queue q,
                          LATERAL (SELECT coalesce(m.max_deliveries, (q.settings ->> 'max_deliveries')::integer,
                                                   current_setting('pgqueue.max_deliveries')::integer) AS attempts) most
                    WHERE q.id = m.queue
                      AND (NOT $4 OR $2 = 'expired'
                           OR ($2 = 'timeout') = (m.lease_until > '-infinity')
                              AND (most.attempts > 0 AND m.deliveries - coalesce(m.given_back, 0) >= most.attempts
                                   OR m.lease_until > '-infinity' AND q.settings ->> 'on_timeout' = 'dead')))
       AND (lease_until <= clock_timestamp() OR NOT $4)
       AND (expires_at <= clock_timestamp() OR $2 <> 'expired')
       FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM pgqueue.message m USING free WHERE m.id = free.id RETURNING m.*
), kept AS (
    INSERT INTO pgqueue.dead (id, enqueued_at, deliveries, queue, priority, reason, lease_ms, max_deliveries,
                              group_key, payload, body, headers, errors, given_back)
    SELECT g.id, g.enqueued_at, g.deliveries, g.queue, g.priority, $2, g.lease_ms, g.max_deliveries,
           g.group_key, g.payload, g.body, g.headers,
           CASE WHEN jsonb_array_length(g.errors) >= 10 THEN g.errors - 0 ELSE coalesce(g.errors, '[]') END
           || jsonb_build_object('at', clock_timestamp(), 'delivery', g.deliveries, 'error', $3),
           g.given_back
      FROM gone g
      JOIN pgqueue.queue q ON q.id = g.queue
     WHERE coalesce((q.settings ->> 'dead_letter')::boolean, true)
       AND ($2 <> 'expired' OR q.settings ->> 'on_expire' = 'dead')
    RETURNING id
)
SELECT gone.queue, id, gone.deliveries, kept.id IS NOT NULL AS kept
  FROM gone LEFT JOIN kept USING (id)
 ORDER BY id
