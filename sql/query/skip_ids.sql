SELECT setval('pgqueue.message_id', $1, false)
