-- Producing: ways to push, one list of options.

CREATE FUNCTION pgq_push(
    queue          text,
    payload        jsonb,
    headers        jsonb       DEFAULT NULL,
    priority       bigint      DEFAULT 0,
    delay          interval    DEFAULT NULL,
    deliver_at     timestamptz DEFAULT NULL,
    ttl            interval    DEFAULT NULL,
    group_key      text        DEFAULT NULL,
    dedup_key      text        DEFAULT NULL,
    on_duplicate   text        DEFAULT 'ignore',
    lease          interval    DEFAULT NULL,
    max_deliveries bigint      DEFAULT NULL
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_push';
COMMENT ON FUNCTION pgq_push(text, jsonb, jsonb, bigint, interval, timestamptz, interval, text, text, text, interval, bigint)
    IS 'puts a message into a queue and returns its id; the queue is made on its first push';

CREATE FUNCTION pgq_push_result(
    queue          text,
    payload        jsonb,
    headers        jsonb       DEFAULT NULL,
    priority       bigint      DEFAULT 0,
    delay          interval    DEFAULT NULL,
    deliver_at     timestamptz DEFAULT NULL,
    ttl            interval    DEFAULT NULL,
    group_key      text        DEFAULT NULL,
    dedup_key      text        DEFAULT NULL,
    on_duplicate   text        DEFAULT 'ignore',
    lease          interval    DEFAULT NULL,
    max_deliveries bigint      DEFAULT NULL
) RETURNS SETOF pgq_push_outcome LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_push_result';
COMMENT ON FUNCTION pgq_push_result(text, jsonb, jsonb, bigint, interval, timestamptz, interval, text, text, text, interval, bigint)
    IS 'pgq_push that also says what became of it: pushed, ignored or replaced';

CREATE FUNCTION pgq_push_batch(
    queue          text,
    payloads       jsonb[],
    headers        jsonb[]     DEFAULT NULL,
    priority       bigint      DEFAULT 0,
    delay          interval    DEFAULT NULL,
    deliver_at     timestamptz DEFAULT NULL,
    ttl            interval    DEFAULT NULL,
    group_key      text        DEFAULT NULL,
    dedup_key      text        DEFAULT NULL,
    on_duplicate   text        DEFAULT 'ignore',
    lease          interval    DEFAULT NULL,
    max_deliveries bigint      DEFAULT NULL,
    dedup_keys     text[]      DEFAULT NULL
) RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'pgq_push_batch';
COMMENT ON FUNCTION pgq_push_batch(text, jsonb[], jsonb[], bigint, interval, timestamptz, interval, text, text, text, interval, bigint, text[])
    IS 'puts all payloads into a queue, or none, and returns their ids in the order of the array';

CREATE FUNCTION pgq_push_bytes(
    queue          text,
    body           bytea,
    headers        jsonb       DEFAULT NULL,
    priority       bigint      DEFAULT 0,
    delay          interval    DEFAULT NULL,
    deliver_at     timestamptz DEFAULT NULL,
    ttl            interval    DEFAULT NULL,
    group_key      text        DEFAULT NULL,
    dedup_key      text        DEFAULT NULL,
    on_duplicate   text        DEFAULT 'ignore',
    lease          interval    DEFAULT NULL,
    max_deliveries bigint      DEFAULT NULL
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_push_bytes';
COMMENT ON FUNCTION pgq_push_bytes(text, bytea, jsonb, bigint, interval, timestamptz, interval, text, text, text, interval, bigint)
    IS 'puts opaque bytes into a queue as a message and returns its id';

CREATE FUNCTION pgq_push_bytes_batch(
    queue          text,
    bodies         bytea[],
    headers        jsonb[]     DEFAULT NULL,
    priority       bigint      DEFAULT 0,
    delay          interval    DEFAULT NULL,
    deliver_at     timestamptz DEFAULT NULL,
    ttl            interval    DEFAULT NULL,
    group_key      text        DEFAULT NULL,
    dedup_key      text        DEFAULT NULL,
    on_duplicate   text        DEFAULT 'ignore',
    lease          interval    DEFAULT NULL,
    max_deliveries bigint      DEFAULT NULL,
    dedup_keys     text[]      DEFAULT NULL
) RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'pgq_push_bytes_batch';
COMMENT ON FUNCTION pgq_push_bytes_batch(text, bytea[], jsonb[], bigint, interval, timestamptz, interval, text, text, text, interval, bigint, text[])
    IS 'puts all bodies into a queue, or none, and returns their ids in the order of the array';

CREATE FUNCTION pgq_push_each(queue text, messages jsonb)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'pgq_push_each';
COMMENT ON FUNCTION pgq_push_each(text, jsonb)
    IS 'puts messages into a queue, each an object with a payload and options of its own, or none, and returns their ids in the order of the array';
