-- Lets nobody write to a partition any more, because it is about to be moved (docs/sharding.md):
--
--     psql -f sql/proxy/freeze.sql DATABASE
--
-- Returns when all sessions that could have ended. ALTER DATABASE … RESET
-- default_transaction_read_only undoes it.

\set ON_ERROR_STOP on
\set QUIET on
SELECT current_database() AS database \gset
ALTER DATABASE :"database" SET default_transaction_read_only = on;
-- Who was just connecting has read his settings by then, and can be seen.
DO $$ BEGIN PERFORM pg_sleep(1); END $$;
DO $$
DECLARE
    before CONSTANT timestamptz := clock_timestamp();
    others CONSTANT integer[] := ARRAY(SELECT pid FROM pg_stat_activity
                                        WHERE datname = current_database() AND pid <> pg_backend_pid());
    left_over integer;
BEGIN
    SET LOCAL client_min_messages = error; -- some end by themselves meanwhile
    PERFORM pg_terminate_backend(pid, 10000) FROM unnest(others) AS pid;
    PERFORM pg_stat_clear_snapshot();
    SELECT pid INTO left_over FROM pg_stat_activity WHERE pid = ANY (others) AND backend_start < before;
    IF FOUND THEN
        RAISE EXCEPTION 'process % goes on in database "%"', left_over, current_database()
            USING ERRCODE = 'object_in_use', HINT = 'Run this again.';
    END IF;
END $$;
