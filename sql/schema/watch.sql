-- Watches: schedules with a query, whose changes are pushed.

CREATE TABLE pgqueue.watch_seen (
    watch     text NOT NULL COLLATE "C",
    object_id text NOT NULL COLLATE "C",
    hash      text NOT NULL,
    CONSTRAINT watch_seen_is_unique PRIMARY KEY (watch, object_id)
) USING heap;
COMMENT ON TABLE pgqueue.watch_seen IS 'what the query of each watch gave when it was last pushed';

SELECT pg_catalog.pg_extension_config_dump('pgqueue.watch_seen', '');

CREATE FUNCTION pgq_watch(
    name      text,
    queue     text,
    query     text,
    every     text,
    page_size bigint DEFAULT 1000,
    time_zone text   DEFAULT 'UTC'
) RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_watch';
COMMENT ON FUNCTION pgq_watch(text, text, text, text, bigint, text)
    IS 'has the worker run a query of (object_id, hash) again and again and push what has changed, and returns when it will first';

CREATE FUNCTION pgq_unwatch(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_unwatch';
COMMENT ON FUNCTION pgq_unwatch(text) IS 'removes a watch and what it has seen; true if it was there';

CREATE FUNCTION pgq_list_watches()
    RETURNS TABLE (name text, queue text, query text, every text, time_zone text, page_size bigint,
                   next_run timestamptz, last_run timestamptz, last_error text, owner text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_watches';
COMMENT ON FUNCTION pgq_list_watches() IS 'the watches the caller has a right on';
