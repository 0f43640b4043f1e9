-- Deletes a queue and its messages. The queue is noted as dropped: the next maintenance round deletes
-- messages whose push commits after this statement.
WITH gone AS (
    DELETE FROM pgqueue.queue WHERE id = $1
), noted AS (
    INSERT INTO pgqueue.dropped_queue (queue) VALUES ($1)
), messages AS (
    DELETE FROM pgqueue.message WHERE queue = $1 RETURNING 1
)
SELECT count(*) FROM messages
