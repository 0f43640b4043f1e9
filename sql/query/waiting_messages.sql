SELECT id FROM pgqueue.message_state WHERE id = ANY ($1) AND state IN ('ready', 'delayed', 'blocked')
