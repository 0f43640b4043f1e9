-- dropped and made again in one session; the next push works
SELECT pgq_push('again', '1') IS NOT NULL AS pushed;
DROP EXTENSION pgqueue CASCADE;
CREATE EXTENSION pgqueue;
SELECT pgq_push('again', '2');
SELECT payload, delivery FROM pgq_reserve('again');
SELECT pgq_delete(1, 1);
SELECT queue, total, pushed, delivered, deleted FROM pgq_stats();
-- in a schema of its own
DROP EXTENSION pgqueue;
CREATE SCHEMA "q Q";
CREATE EXTENSION pgqueue SCHEMA "q Q";
SELECT "q Q".pgq_push('elsewhere', '1');
SELECT payload FROM "q Q".pgq_reserve('elsewhere');
SELECT page_size FROM "q Q".pgq_vacuum();
DROP EXTENSION pgqueue;
DROP SCHEMA "q Q";
-- the caller's transaction may be anything
CREATE EXTENSION pgqueue;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pgq_push('serial', '1');
SELECT payload FROM pgq_reserve('serial');
SELECT pgq_delete(1);
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pgq_push('serial', '2');
SELECT payload FROM pgq_reserve('serial');
SELECT outcome FROM pgq_fail(2, 'x', delay => '0');
SELECT payload, delivery FROM pgq_reserve('serial');
SELECT pgq_bury(2, 'y');
COMMIT;
SELECT dead, total FROM pgq_stats('serial');
-- and an exception in the middle takes back what was inside its block
DO $$ BEGIN
    PERFORM pgq_push('blocks', '1');
    BEGIN
        PERFORM pgq_push('blocks', '2');
        PERFORM * FROM pgq_reserve('blocks');
        RAISE EXCEPTION 'oops';
    EXCEPTION WHEN OTHERS THEN
        PERFORM pgq_push('blocks', '3');
    END;
    BEGIN
        PERFORM pgq_push('blocks', NULL);
    EXCEPTION WHEN null_value_not_allowed THEN
        PERFORM pgq_push('blocks', '4');
    END;
END $$;
SELECT payload, delivery FROM pgq_reserve('blocks', max => 10);
SELECT pushed, delivered FROM pgq_stats('blocks');
