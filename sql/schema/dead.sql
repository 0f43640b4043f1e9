-- Dead letters: looking at them, taking them out, sending them back.

CREATE FUNCTION pgq_dump_dead(queue text, max bigint DEFAULT 1)
    RETURNS TABLE (id bigint, payload jsonb, body bytea, headers jsonb, delivery bigint, reason text,
                   errors jsonb, enqueued_at timestamptz, died_at timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_dump_dead';
COMMENT ON FUNCTION pgq_dump_dead(text, bigint)
    IS 'removes up to max dead letters from the database, oldest first, and returns them';

CREATE FUNCTION pgq_peek_dead(queue text, max bigint DEFAULT 1)
    RETURNS TABLE (id bigint, payload jsonb, body bytea, headers jsonb, delivery bigint, reason text,
                   errors jsonb, enqueued_at timestamptz, died_at timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_peek_dead';
COMMENT ON FUNCTION pgq_peek_dead(text, bigint)
    IS 'shows up to max dead letters, oldest first, and changes nothing';

CREATE FUNCTION pgq_redrive(
    queue    text,
    max      bigint DEFAULT NULL,
    to_queue text    DEFAULT NULL,
    reason   text    DEFAULT NULL,
    reset    boolean DEFAULT true
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_redrive';
COMMENT ON FUNCTION pgq_redrive(text, bigint, text, text, boolean)
    IS 'sends dead letters back to their queue, or to another, and returns how many went; reset => false grants one more try';

CREATE FUNCTION pgq_redrive_dead(id bigint, to_queue text DEFAULT NULL, reset boolean DEFAULT true)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_redrive_dead';
COMMENT ON FUNCTION pgq_redrive_dead(bigint, text, boolean)
    IS 'sends one dead letter back to its queue, or to another, and returns the id of the message; null if it is not there';

CREATE FUNCTION pgq_redrive_dead_batch(ids bigint[], to_queue text DEFAULT NULL, reset boolean DEFAULT true)
    RETURNS TABLE (id bigint, new_id bigint)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_redrive_dead_batch';
COMMENT ON FUNCTION pgq_redrive_dead_batch(bigint[], text, boolean)
    IS 'sends dead letters back to their queues, or to another, and returns their ids, old and new';

CREATE FUNCTION pgq_delete_dead(id bigint)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_delete_dead';
COMMENT ON FUNCTION pgq_delete_dead(bigint)
    IS 'removes one dead letter; true if it was there';

CREATE FUNCTION pgq_delete_dead_batch(ids bigint[])
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_delete_dead_batch';
COMMENT ON FUNCTION pgq_delete_dead_batch(bigint[])
    IS 'removes dead letters and returns the ids that were there';
