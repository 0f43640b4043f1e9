SELECT id FROM pgqueue.queue ORDER BY id
