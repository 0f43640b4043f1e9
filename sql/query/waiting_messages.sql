-- Those of the messages that wait to be delivered, whether another with its key stands for each
-- (engine/unique.rs): a newer one that supersedes it, or an echo that replaces its content; and its key.
SELECT m.id,
       s.id IS NOT NULL
       OR m.key_place <= 0
          AND EXISTS (SELECT FROM pgqueue.message echo
                       WHERE echo.queue = m.queue AND echo.dedup_key = m.dedup_key
                         AND echo.id > m.id AND echo.key_place = -2),
       m.dedup_key
  FROM pgqueue.message_state m
  LEFT JOIN pgqueue.superseded s ON s.id = m.id
 WHERE m.id = ANY ($1) AND (m.state IN ('ready', 'delayed', 'blocked') OR s.id IS NOT NULL)
