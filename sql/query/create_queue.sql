INSERT INTO pgqueue.queue (name, owner, settings)
VALUES ($1, $2::name, $3)
-- A conflict on any unique index counts: REINDEX CONCURRENTLY has a second one for a while.
ON CONFLICT DO NOTHING
RETURNING id
