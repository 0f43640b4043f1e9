INSERT INTO pgqueue.queue (name, owner, settings)
VALUES ($1, $2::name, $3)
ON CONFLICT (name) DO NOTHING
RETURNING id
