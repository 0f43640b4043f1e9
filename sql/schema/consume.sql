-- Consuming: the calls that hand out messages. All give the same columns.

CREATE FUNCTION pgq_reserve(
    queue     text,
    lease     interval DEFAULT NULL,
    max       bigint   DEFAULT 1,
    filter    jsonb    DEFAULT NULL,
    group_key text     DEFAULT NULL,
    lifo      boolean  DEFAULT NULL
) RETURNS SETOF pgq_message LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_reserve';
COMMENT ON FUNCTION pgq_reserve(text, interval, bigint, jsonb, text, boolean)
    IS 'leases up to max messages to the caller, by priority and then in the order of their push';

CREATE FUNCTION pgq_pop(
    queue     text,
    max       bigint  DEFAULT 1,
    filter    jsonb   DEFAULT NULL,
    group_key text    DEFAULT NULL,
    lifo      boolean DEFAULT NULL
) RETURNS SETOF pgq_message LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_pop';
COMMENT ON FUNCTION pgq_pop(text, bigint, jsonb, text, boolean)
    IS 'removes up to max messages and returns them: delivery at most once';

CREATE FUNCTION pgq_next(
    queue        text,
    done         bigint[] DEFAULT NULL,
    deliveries   bigint[] DEFAULT NULL,
    lease        interval DEFAULT NULL,
    max          bigint   DEFAULT 1,
    filter       jsonb    DEFAULT NULL,
    group_key    text     DEFAULT NULL,
    lifo         boolean  DEFAULT NULL,
    strict       boolean  DEFAULT false,
    show_refused boolean  DEFAULT false,
    receipts     text[]   DEFAULT NULL
) RETURNS SETOF pgq_message LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_next';
COMMENT ON FUNCTION pgq_next(text, bigint[], bigint[], interval, bigint, jsonb, text, boolean, boolean, boolean, text[])
    IS 'deletes the messages that are done and leases the next, in one round trip and one commit; strict raises if a receipt is refused, show_refused gives a row of its id, delivery and receipt';

CREATE FUNCTION pgq_peek(
    queue text,
    max   bigint DEFAULT 1,
    state text    DEFAULT 'ready'
) RETURNS SETOF pgq_message LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_peek';
COMMENT ON FUNCTION pgq_peek(text, bigint, text)
    IS 'shows up to max messages that are ready, delayed, leased or blocked, or archived ones, and changes nothing';

CREATE FUNCTION pgq_get(id bigint)
    RETURNS SETOF pgq_message_details LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_get';
COMMENT ON FUNCTION pgq_get(bigint)
    IS 'shows all that is known of one message, alive, dead or archived, and changes nothing';

CREATE PROCEDURE pgq_wait(
    queue   text,
    timeout interval DEFAULT '30 s',
    min     bigint   DEFAULT 1,
    INOUT ready boolean DEFAULT NULL
) LANGUAGE c AS 'MODULE_PATHNAME', 'pgq_wait';
COMMENT ON PROCEDURE pgq_wait(text, interval, bigint, boolean)
    IS 'returns when min messages may be ready (true) or the time is up (false); holds no snapshot meanwhile';
