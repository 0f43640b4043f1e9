-- Schedules: messages that the worker pushes when their time comes. A watch is a schedule
-- with a query instead of a message.

SET LOCAL search_path TO pg_catalog, pg_temp; -- as in tables.sql

CREATE TABLE pgqueue.schedule (
    name           text        NOT NULL COLLATE "C",
    owner          name,
    -- A name: a queue may be dropped and made again.
    queue          text        NOT NULL COLLATE "C",
    every          text        NOT NULL,
    time_zone      text        NOT NULL,
    payload        jsonb,
    headers        jsonb,
    priority       smallint,
    ttl_ms         bigint,
    group_key      text COLLATE "C",
    dedup_key      text COLLATE "C",
    on_duplicate   text,
    lease_ms       bigint,
    max_deliveries integer,
    query          text,
    search_path    text,
    max_changes    integer,
    next_run       timestamptz NOT NULL,
    last_run       timestamptz,
    last_error     text,
    owner_id       oid,
    seen_to        text COLLATE "C",
    retry_at       timestamptz,
    pauses         integer     NOT NULL DEFAULT 0,
    started_at     timestamptz,
    CONSTRAINT schedule_name_is_unique PRIMARY KEY (name),
    CONSTRAINT schedule_has_payload_or_query CHECK (num_nonnulls(payload, query) = 1)
) USING heap WITH (fillfactor = 50);
CREATE INDEX schedule_due ON pgqueue.schedule (next_run);
CREATE INDEX schedule_started ON pgqueue.schedule (name) WHERE started_at IS NOT NULL;
CREATE INDEX schedule_turn ON pgqueue.schedule (coalesce(owner_id, 0), greatest(next_run, retry_at), name) WHERE query IS NULL;
CREATE INDEX schedule_watch_turn ON pgqueue.schedule (coalesce(owner_id, 0), greatest(next_run, retry_at)) WHERE query IS NOT NULL;
COMMENT ON TABLE pgqueue.schedule IS 'one row a schedule or watch';
COMMENT ON COLUMN pgqueue.schedule.owner IS 'role with whose rights it runs; null: it is gone';
COMMENT ON COLUMN pgqueue.schedule.owner_id IS 'number of that role (rights.sql); null: no role has this name';
COMMENT ON COLUMN pgqueue.schedule.every IS 'a cron line, or a span of time';
COMMENT ON COLUMN pgqueue.schedule.query IS 'what a watch looks at';
COMMENT ON COLUMN pgqueue.schedule.search_path IS 'where the query finds its tables: as it was when the watch was put';
COMMENT ON COLUMN pgqueue.schedule.seen_to IS 'object behind which a watch goes on with a run that it has not finished';
COMMENT ON COLUMN pgqueue.schedule.retry_at IS 'it does not run before: something was in its way, or it took long';
COMMENT ON COLUMN pgqueue.schedule.pauses IS 'how often in a row something was in its way';
COMMENT ON COLUMN pgqueue.schedule.started_at IS 'when the run of a watch began that is not over';
COMMENT ON COLUMN pgqueue.schedule.last_error IS 'SQLSTATE and message, if the last run failed';

SELECT pg_catalog.pg_extension_config_dump('pgqueue.schedule', '');

SET LOCAL search_path TO @extschema@, pg_temp;

CREATE FUNCTION pgq_schedule(
    name           text,
    queue          text,
    every          text,
    payload        jsonb,
    headers        jsonb    DEFAULT NULL,
    priority       bigint   DEFAULT 0,
    time_zone      text     DEFAULT 'UTC',
    ttl            interval DEFAULT NULL,
    group_key      text     DEFAULT NULL,
    dedup_key      text     DEFAULT NULL,
    on_duplicate   text     DEFAULT 'ignore',
    lease          interval DEFAULT NULL,
    max_deliveries bigint   DEFAULT NULL
) RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_schedule';
COMMENT ON FUNCTION pgq_schedule(text, text, text, jsonb, jsonb, bigint, text, interval, text, text, text, interval, bigint)
    IS 'has the worker push a message again and again, by a cron line or a span of time, and returns when it will first';

CREATE FUNCTION pgq_unschedule(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_unschedule';
COMMENT ON FUNCTION pgq_unschedule(text) IS 'removes a schedule; true if it was there';

CREATE FUNCTION pgq_list_schedules()
    RETURNS TABLE (name text, queue text, every text, time_zone text, payload jsonb, headers jsonb, priority bigint,
                   next_run timestamptz, last_run timestamptz, last_error text, owner text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_schedules';
COMMENT ON FUNCTION pgq_list_schedules() IS 'the schedules the caller has a right on';
