-- Managing queues.

CREATE FUNCTION pgq_create_queue(queue text, settings jsonb DEFAULT '{}')
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_create_queue';
COMMENT ON FUNCTION pgq_create_queue(text, jsonb)
    IS 'makes a queue; false if it was there (it keeps its settings)';

CREATE FUNCTION pgq_alter_queue(queue text, settings jsonb)
    RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_alter_queue';
COMMENT ON FUNCTION pgq_alter_queue(text, jsonb)
    IS 'changes the settings named, a null takes one back to its default, and returns all that are set';

CREATE FUNCTION pgq_drop_queue(queue text)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_drop_queue';
COMMENT ON FUNCTION pgq_drop_queue(text)
    IS 'removes a queue with all its messages, dead letters and archived messages and returns how many those were';

CREATE FUNCTION pgq_purge(queue text, state text DEFAULT NULL, group_key text DEFAULT NULL)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_purge';
COMMENT ON FUNCTION pgq_purge(text, text, text)
    IS 'removes a queue''s messages, dead letters and archived messages, or those of one state or group, and returns how many';

CREATE FUNCTION pgq_pause(queue text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_pause';
COMMENT ON FUNCTION pgq_pause(text) IS 'lets a queue take pushes and give nothing; false if it was paused';

CREATE FUNCTION pgq_resume(queue text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_resume';
COMMENT ON FUNCTION pgq_resume(text) IS 'lets a paused queue give messages again; false if it was not paused';

CREATE FUNCTION pgq_vacuum()
    RETURNS SETOF pgq_vacuum_stats LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_vacuum';
COMMENT ON FUNCTION pgq_vacuum()
    IS 'one maintenance round by hand; returns what it did, as pgq_vacuum_stats shows it';
-- A round concerns every queue, and what it returns may quote errors about any of them.
REVOKE EXECUTE ON FUNCTION pgq_vacuum() FROM PUBLIC;

-- Not before the transaction that makes the extension commits is there work to do; the
-- worker waits for it a moment.
CREATE FUNCTION pgqueue.begin_anew()
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'begin_anew';
COMMENT ON FUNCTION pgqueue.begin_anew() IS 'forgets what shared memory knows of an extension that was here before, and starts the worker';
REVOKE EXECUTE ON FUNCTION pgqueue.begin_anew() FROM PUBLIC;
SELECT pgqueue.begin_anew();
