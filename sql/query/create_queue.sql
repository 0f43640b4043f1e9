-- Makes a queue, with the number $4 if a transaction has pushed to it by that.
INSERT INTO pgqueue.queue (id, name, owner, settings)
VALUES (coalesce($4, nextval('pgqueue.queue_id')::integer), $1, $2::name, $3)
-- A conflict on any unique index counts: REINDEX CONCURRENTLY has a second one for a while.
ON CONFLICT DO NOTHING
RETURNING id
