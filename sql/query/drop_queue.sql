-- Deletes a queue. It is noted as dropped: the next maintenance round deletes messages whose push commits after
-- this statement.
WITH gone AS (
    DELETE FROM pgqueue.queue WHERE id = $1
)
INSERT INTO pgqueue.dropped_queue (queue) VALUES ($1)
