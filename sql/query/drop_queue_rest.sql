-- In a statement of its own, after the messages: it sees the letter, or what the archive
-- keeps, that a message has become while their deletion waited for it.
WITH letters AS (
    DELETE FROM pgqueue.dead WHERE queue = $1 RETURNING 1
), keys AS (
    DELETE FROM pgqueue.recent_key WHERE queue = $1
), archived AS (
    DELETE FROM pgqueue.archive WHERE queue = $1 RETURNING 1
), slots AS (
    DELETE FROM pgqueue.slot WHERE queue = $1
), counts AS (
    DELETE FROM pgqueue.counter WHERE queue = $1
), privileges AS (
    DELETE FROM pgqueue.privilege WHERE queue = $1
)
SELECT (SELECT count(*) FROM letters) + (SELECT count(*) FROM archived)
