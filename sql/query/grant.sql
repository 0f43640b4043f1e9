INSERT INTO pgqueue.privilege (queue, role, privilege)
VALUES ($1, $2::name, $3)
ON CONFLICT (queue, role_id, privilege) DO NOTHING
