-- The queues with a NOTIFY channel among the $3 numbers after $2, and that channel. $1 is the prefix of channels
-- that are named after their queue. A part has numbers and not rows: what other transactions have not committed
-- is passed, too.
SELECT id, CASE jsonb_typeof(settings -> 'notify') WHEN 'boolean' THEN $1 || name ELSE settings ->> 'notify' END
  FROM pgqueue.queue
 WHERE settings ->> 'notify' <> 'false' AND id > $2 AND id <= $2 + $3
 ORDER BY id
