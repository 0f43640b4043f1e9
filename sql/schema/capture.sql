-- Change capture: a trigger that pushes what a statement has changed.

CREATE FUNCTION pgq_capture() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_capture';
COMMENT ON FUNCTION pgq_capture()
    IS 'trigger: pushes each created, updated or deleted row into a queue; arguments: the queue, then the key columns, by default the primary key';
