SELECT count(*) FROM pgqueue.message_state WHERE queue = $1 AND state = 'ready'
