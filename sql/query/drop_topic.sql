-- Deletes a topic with its rights; its subscriptions go with it (ON DELETE CASCADE). Returns how many it had.
WITH gone AS (
    DELETE FROM pgqueue.topic WHERE id = $1 RETURNING id
), privileges AS (
    DELETE FROM pgqueue.privilege WHERE queue = $1
)
SELECT (SELECT count(*) FROM pgqueue.subscription s WHERE s.topic = gone.id) FROM gone
