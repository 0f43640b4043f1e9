-- The first columns are for the check of rights.
SELECT t.id, t.owner_id, t.has_grants, q.id, q.owner_id, q.has_grants, t.name, q.name, s.pattern
  FROM pgqueue.subscription s
  JOIN pgqueue.topic_access t ON t.id = s.topic
  JOIN pgqueue.queue_access q ON q.id = s.queue
 WHERE $1 IS NULL OR t.name = $1
 ORDER BY t.name, q.name, s.pattern
