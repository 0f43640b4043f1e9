-- Makes a database with pgqueue in it a partition of a sharded one (docs/sharding.md):
--
--     psql -v partition=3 -f sql/proxy/partition.sql DATABASE
--
-- The ids of partition n begin at n * 10^13, so an id tells where its message is. It can be
-- run again, and has to be after a restore: a dump carries the last id, not the bounds.

\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SET LOCAL client_min_messages = warning;

CREATE SCHEMA IF NOT EXISTS pgqueue_proxy;
GRANT USAGE ON SCHEMA pgqueue_proxy TO PUBLIC;
COMMENT ON SCHEMA pgqueue_proxy IS 'which partition of a sharded pgqueue this database is';

CREATE OR REPLACE FUNCTION pgqueue_proxy.partition()
    RETURNS integer LANGUAGE sql IMMUTABLE RETURN :partition;
COMMENT ON FUNCTION pgqueue_proxy.partition() IS 'the number of this partition, from 0';

DO $$
DECLARE
    -- Ids of 256 partitions stay below 2^53, which is as far as JavaScript counts.
    ids_each CONSTANT bigint := 10000000000000;
    lowest   CONSTANT bigint := greatest(pgqueue_proxy.partition() * ids_each, 1);
    highest  CONSTANT bigint := (pgqueue_proxy.partition() + 1) * ids_each - 1;
    next     bigint;
BEGIN
    IF pgqueue_proxy.partition() NOT BETWEEN 0 AND 255 THEN
        RAISE EXCEPTION 'partition % is not between 0 and 255', pgqueue_proxy.partition()
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (SELECT FROM (SELECT id FROM pgqueue.message UNION ALL
                            SELECT id FROM pgqueue.dead UNION ALL
                            SELECT id FROM pgqueue.archive) kept
                WHERE id NOT BETWEEN lowest AND highest) THEN
        RAISE EXCEPTION 'messages here have ids of another partition than %', pgqueue_proxy.partition()
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'A database that is to become a partition is empty, or was this partition before.';
    END IF;
    ALTER SEQUENCE pgqueue.message_id NO CYCLE; -- keeps pushes from it, until this commits
    SELECT CASE WHEN last_value BETWEEN lowest AND highest THEN last_value + is_called::integer ELSE lowest END
      INTO next
      FROM pgqueue.message_id;
    EXECUTE format('ALTER SEQUENCE pgqueue.message_id MINVALUE %s MAXVALUE %s START %s RESTART %s',
                   lowest, highest, lowest, next);
END $$;

COMMIT;
