DELETE FROM pgqueue.message WHERE id = ANY ($1) AND EXISTS (SELECT FROM pgqueue.dropped_queue d WHERE d.queue = message.queue)
