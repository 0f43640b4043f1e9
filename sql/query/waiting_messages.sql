-- Messages that wait to be delivered, each with its key, and whether another message of the key stands for it
-- (engine/message/siblings.rs): a newer one that supersedes it, or an echo that replaces its content. A superseded
-- message that is dead for another reason does not wait.
SELECT m.id,
       s.id IS NOT NULL
       OR m.key_place <= 0
          AND EXISTS (SELECT FROM pgqueue.message echo
                       WHERE echo.queue = m.queue AND echo.dedup_key = m.dedup_key
                         AND echo.id > m.id AND echo.key_place = -2),
       m.dedup_key
  FROM pgqueue.message_state m
  JOIN pgqueue.queue q ON q.id = m.queue,
       LATERAL (SELECT coalesce(m.max_deliveries, (q.settings ->> 'max_deliveries')::integer,
                                current_setting('pgqueue.max_deliveries')::integer) AS attempts) most
  -- with a plain join the planner may find all superseded messages
  LEFT JOIN LATERAL (SELECT s.id FROM pgqueue.superseded s
                      WHERE s.id = m.id
                        AND (m.expires_at > clock_timestamp() OR m.expires_at IS NULL)
                        AND NOT (most.attempts > 0 AND m.attempts >= most.attempts)
                        AND NOT (m.lease_until > '-infinity' AND coalesce(q.settings ->> 'on_timeout' = 'dead', false))
                      LIMIT 1) s ON true
 WHERE m.id = ANY ($1) AND (m.state IN ('ready', 'delayed', 'blocked') OR s.id IS NOT NULL)
