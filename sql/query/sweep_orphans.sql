DELETE FROM pgqueue.message WHERE id = ANY ($1) AND NOT EXISTS (SELECT FROM pgqueue.queue q WHERE q.id = queue)
