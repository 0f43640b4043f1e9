-- A separate statement, after the messages are deleted: it sees the dead letter or archived message that a
-- message became while its deletion waited.
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
