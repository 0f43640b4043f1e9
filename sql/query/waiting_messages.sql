-- Those of the messages that wait to be delivered, whether another with its key has superseded
-- each (engine/unique.rs), and its key.
SELECT m.id, s.id IS NOT NULL, m.dedup_key
  FROM pgqueue.message_state m
  LEFT JOIN pgqueue.superseded s ON s.id = m.id
 WHERE m.id = ANY ($1) AND (m.state IN ('ready', 'delayed', 'blocked') OR s.id IS NOT NULL)
