-- Messages that wait to be delivered, each with its key, and whether another message of the key stands for it
-- (engine/message/siblings.rs): a newer one that supersedes it, or an echo that replaces its content.
SELECT m.id,
       s.id IS NOT NULL
       OR m.key_place <= 0
          AND EXISTS (SELECT FROM pgqueue.message echo
                       WHERE echo.queue = m.queue AND echo.dedup_key = m.dedup_key
                         AND echo.id > m.id AND echo.key_place = -2),
       m.dedup_key
  FROM pgqueue.message_state m
  -- with a plain join the planner may find all superseded messages
  LEFT JOIN LATERAL (SELECT s.id FROM pgqueue.superseded s WHERE s.id = m.id LIMIT 1) s ON true
 WHERE m.id = ANY ($1) AND (m.state IN ('ready', 'delayed', 'blocked') OR s.id IS NOT NULL)
