-- A separate statement, after the messages are deleted, as in drop_queue_rest.sql.
WITH letters AS (
    DELETE FROM pgqueue.dead
     WHERE queue = $1 AND ($2 IS NULL OR $2 = 'dead') AND ($3 IS NULL OR group_key = $3)
    RETURNING 1
), archived AS (
    DELETE FROM pgqueue.archive
     WHERE queue = $1 AND ($2 IS NULL OR $2 = 'archived') AND ($3 IS NULL OR group_key = $3)
    RETURNING 1
)
SELECT (SELECT count(*) FROM letters) + (SELECT count(*) FROM archived)
