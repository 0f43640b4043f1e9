-- How many messages could be reserved now, of one group if it is given.
SELECT count(*)
  FROM pgqueue.message_state
 WHERE queue = $1 AND state = 'ready' AND ($2 IS NULL OR group_key = $2)
