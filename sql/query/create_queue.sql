INSERT INTO pgqueue.queue (name, owner, settings)
VALUES ($1, $2::name, $3)
-- All unique indexes count: REINDEX CONCURRENTLY has a second one for a while.
ON CONFLICT DO NOTHING
RETURNING id
