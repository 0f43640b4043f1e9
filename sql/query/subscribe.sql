INSERT INTO pgqueue.subscription (topic, queue, pattern)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING -- any index: see create_queue.sql
