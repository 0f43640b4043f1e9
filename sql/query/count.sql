-- Number of messages of a queue that could be reserved now. Blocked ones could not.
SELECT count(*)
  FROM (SELECT FROM pgqueue.message_state WHERE queue = $1 AND lane = 'r' AND state = 'ready'
        UNION ALL
        SELECT FROM pgqueue.message_state WHERE queue = $1 AND lane = 'd' AND state = 'ready') ready
