-- Number of messages of a group that could be reserved now.
SELECT count(*) FROM pgqueue.message_state WHERE queue = $1 AND group_key = $2 AND state = 'ready'
