INSERT INTO pgqueue.topic (name, owner)
VALUES ($1, $2::name)
ON CONFLICT DO NOTHING -- any index: see create_queue.sql
