SELECT last_value FROM pgqueue.message_id
