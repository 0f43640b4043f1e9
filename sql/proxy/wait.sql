-- Waiting through a proxy: by looking again and again. PL/Proxy can only SELECT, and a SELECT
-- that sleeps on the partition would hold a snapshot there for as long as it does.

-- Up to 0.2, min was an integer.
DROP PROCEDURE IF EXISTS pgq_wait(text, interval, integer);
-- Before 0.3, it did not say anything.
DROP PROCEDURE IF EXISTS pgq_wait(text, interval, bigint);

CREATE OR REPLACE PROCEDURE pgq_wait(queue text, timeout interval DEFAULT '30 s', min bigint DEFAULT 1, INOUT ready boolean DEFAULT NULL)
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    deadline timestamptz;
BEGIN
    IF timeout IS NULL OR min IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN min IS NULL THEN 'min' ELSE 'timeout' END
            USING ERRCODE = 'null_value_not_allowed';
    ELSIF min < 1 THEN
        RAISE EXCEPTION 'argument "min" must be 1 or more' USING ERRCODE = 'invalid_parameter_value';
    ELSIF timeout < interval '0' THEN
        RAISE EXCEPTION 'argument "timeout" must not be negative' USING ERRCODE = 'invalid_parameter_value';
    ELSIF timeout > interval '100 years' THEN
        RAISE EXCEPTION 'argument "timeout" must not be longer than 100 years' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    deadline := clock_timestamp() + timeout;
    LOOP
        ready := pgq_count(queue) >= min;
        EXIT WHEN ready OR clock_timestamp() >= deadline;
        PERFORM pg_sleep(least(0.05, extract(epoch FROM deadline - clock_timestamp())));
    END LOOP;
END $$;
COMMENT ON PROCEDURE pgq_wait(text, interval, bigint, boolean)
    IS 'returns when min messages may be ready (true) or the time is up (false); looks every 50 ms';
