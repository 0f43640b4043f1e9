-- Changing messages that nobody holds: what is leased, dead or outlived is left alone.

CREATE FUNCTION pgq_update(
    id         bigint,
    payload    jsonb       DEFAULT NULL,
    headers    jsonb       DEFAULT NULL,
    priority   bigint      DEFAULT NULL,
    deliver_at timestamptz DEFAULT NULL
) RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_update';
COMMENT ON FUNCTION pgq_update(bigint, jsonb, jsonb, bigint, timestamptz)
    IS 'changes a message that is not leased, nulls leave things as they are; false if it was not there';

CREATE FUNCTION pgq_cancel_batch(ids bigint[])
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_cancel';
COMMENT ON FUNCTION pgq_cancel_batch(bigint[])
    IS 'removes messages that are not leased and returns the ids that are gone';

CREATE FUNCTION pgq_cancel(id bigint)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_cancel_one';
COMMENT ON FUNCTION pgq_cancel(bigint)
    IS 'removes a message that is not leased; true if it was there';

CREATE FUNCTION pgq_move_batch(ids bigint[], to_queue text)
    RETURNS TABLE (id bigint, new_id bigint)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_move';
COMMENT ON FUNCTION pgq_move_batch(bigint[], text)
    IS 'makes messages that are not leased new messages of another queue and returns their ids, old and new';

CREATE FUNCTION pgq_move(id bigint, to_queue text)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_move_one';
COMMENT ON FUNCTION pgq_move(bigint, text)
    IS 'makes a message that is not leased a new message of another queue and returns its new id; null if it was not there';
