-- A message pushed by a transaction that commits after this one is noted to belong to a
-- dropped queue: the next maintenance round clears it away.
WITH gone AS (
    DELETE FROM pgqueue.queue WHERE id = $1
), noted AS (
    INSERT INTO pgqueue.dropped_queue (queue) VALUES ($1)
), messages AS (
    DELETE FROM pgqueue.message WHERE queue = $1 RETURNING 1
)
SELECT count(*) FROM messages
