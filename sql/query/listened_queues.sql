-- The queues of which listeners want to hear, and on which channel; $1 is the beginning of those that
-- are named after their queue.
SELECT id, CASE jsonb_typeof(settings -> 'notify') WHEN 'boolean' THEN $1 || name ELSE settings ->> 'notify' END
  FROM pgqueue.queue
 WHERE settings ->> 'notify' <> 'false'
