INSERT INTO pgqueue.privilege (queue, role, privilege)
VALUES ($1, $2::name, $3)
ON CONFLICT DO NOTHING -- any index: see create_queue.sql
