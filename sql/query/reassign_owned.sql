WITH queues AS (
    UPDATE pgqueue.queue SET owner = $2::name WHERE owner_id = $1 RETURNING 1
), schedules AS (
    UPDATE pgqueue.schedule SET owner = $2::name WHERE owner_id = $1 RETURNING 1
)
SELECT (SELECT count(*) FROM queues) + (SELECT count(*) FROM schedules)
