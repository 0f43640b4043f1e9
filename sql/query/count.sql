-- Number of messages that could be reserved now, in the queue or in one group.
SELECT count(*)
  FROM pgqueue.message_state
 WHERE queue = $1 AND state = 'ready' AND ($2 IS NULL OR group_key = $2)
