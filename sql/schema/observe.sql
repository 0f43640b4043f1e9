-- Observing.

CREATE FUNCTION pgq_count(queue text, exact boolean DEFAULT false, group_key text DEFAULT NULL)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_count';
COMMENT ON FUNCTION pgq_count(text, boolean, text)
    IS 'how many messages could be reserved now, of one group if it is given; many are not looked at unless exact';

CREATE FUNCTION pgq_stats(queue text DEFAULT NULL, exact boolean DEFAULT false)
    RETURNS SETOF pgq_queue_stats LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_stats';
COMMENT ON FUNCTION pgq_stats(text, boolean)
    IS 'a row a queue: its messages by state now, and what has happened since it was made';

CREATE FUNCTION pgq_list_queues()
    RETURNS TABLE (queue text, owner text, settings jsonb, created_at timestamptz, paused boolean)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_queues';
COMMENT ON FUNCTION pgq_list_queues() IS 'the queues the caller has a right on';

CREATE VIEW pgq_vacuum_stats AS
SELECT last_run, page_size, leases_expired, moved_to_dead, dropped, ttl_dropped, dead_dropped, archive_dropped, errors
  FROM pgqueue.vacuum_run;
COMMENT ON VIEW pgq_vacuum_stats IS 'the last maintenance round in this database; errors: the last error of each step that failed';
GRANT SELECT ON pgq_vacuum_stats TO pg_monitor;
