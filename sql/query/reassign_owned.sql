-- Sets name and number: the old role may have been renamed, and the new one have its former name.
WITH queues AS (
    UPDATE pgqueue.queue SET owner = $2::name, owner_id = $3 WHERE owner_id = $1 RETURNING 1
), topics AS (
    UPDATE pgqueue.topic SET owner = $2::name, owner_id = $3 WHERE owner_id = $1 RETURNING 1
), schedules AS (
    UPDATE pgqueue.schedule SET owner = $2::name, owner_id = $3 WHERE owner_id = $1 RETURNING 1
)
SELECT (SELECT count(*) FROM queues) + (SELECT count(*) FROM topics) + (SELECT count(*) FROM schedules)
