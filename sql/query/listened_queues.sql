-- Up to $3 queues after $2 with a NOTIFY channel, and that channel. $1 is the prefix of channels that are named
-- after their queue.
SELECT id, CASE jsonb_typeof(settings -> 'notify') WHEN 'boolean' THEN $1 || name ELSE settings ->> 'notify' END
  FROM pgqueue.queue
 WHERE settings ->> 'notify' <> 'false' AND id > $2
 ORDER BY id
 LIMIT $3
