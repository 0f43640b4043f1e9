-- Settling: what a consumer says of messages it was given. Each call exists for one
-- message and for a batch. A delivery given with an id makes it a receipt: a message
-- that has since been leased to somebody else is left alone, or, with strict, it is an
-- error. No name is overloaded, so that parameters need no types.

CREATE FUNCTION pgq_delete_batch(ids bigint[], deliveries bigint[] DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_delete';
COMMENT ON FUNCTION pgq_delete_batch(bigint[], bigint[], boolean)
    IS 'removes messages and returns the ids that were there and are gone; strict raises unless all were';

CREATE FUNCTION pgq_delete(id bigint, delivery bigint DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_delete_one';
COMMENT ON FUNCTION pgq_delete(bigint, bigint, boolean)
    IS 'removes a message; true if it was there; strict raises if it was not';

CREATE FUNCTION pgq_extend_batch(ids bigint[], lease interval, deliveries bigint[] DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF pgq_lease LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_extend';
COMMENT ON FUNCTION pgq_extend_batch(bigint[], interval, bigint[], boolean)
    IS 'lets leases that are still valid end at now + lease; strict raises unless all are';

CREATE FUNCTION pgq_extend(id bigint, lease interval, delivery bigint DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF pgq_lease LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_extend_one';
COMMENT ON FUNCTION pgq_extend(bigint, interval, bigint, boolean)
    IS 'lets a lease that is still valid end at now + lease; no row, or with strict an error, if it is not';

CREATE FUNCTION pgq_release_batch(ids bigint[], delay interval DEFAULT '0', deliveries bigint[] DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_release';
COMMENT ON FUNCTION pgq_release_batch(bigint[], interval, bigint[], boolean)
    IS 'gives leased messages back, at once or after a delay, and returns the ids put back; strict raises unless all were';

CREATE FUNCTION pgq_release(id bigint, delay interval DEFAULT '0', delivery bigint DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_release_one';
COMMENT ON FUNCTION pgq_release(bigint, interval, bigint, boolean)
    IS 'gives a leased message back, at once or after a delay; true if it was put back; strict raises if it was not';

CREATE FUNCTION pgq_fail_batch(ids bigint[], error text, deliveries bigint[] DEFAULT NULL, delay interval DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF pgq_failure LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_fail';
COMMENT ON FUNCTION pgq_fail_batch(bigint[], text, bigint[], interval, boolean)
    IS 'says that work on leased messages failed: they are retried after the queue''s backoff, or dead; strict raises unless all were leased';

CREATE FUNCTION pgq_fail(id bigint, error text, delivery bigint DEFAULT NULL, delay interval DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF pgq_failure LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_fail_one';
COMMENT ON FUNCTION pgq_fail(bigint, text, bigint, interval, boolean)
    IS 'says that work on a leased message failed: it is retried after the queue''s backoff, or dead; strict raises if it was not leased';

CREATE FUNCTION pgq_bury_batch(ids bigint[], error text, deliveries bigint[] DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_bury';
COMMENT ON FUNCTION pgq_bury_batch(bigint[], text, bigint[], boolean)
    IS 'sends messages to the dead letters at once and returns their ids; strict raises unless all were there';

CREATE FUNCTION pgq_bury(id bigint, error text, delivery bigint DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_bury_one';
COMMENT ON FUNCTION pgq_bury(bigint, text, bigint, boolean)
    IS 'sends a message to the dead letters at once; true if it was there; strict raises if it was not';

-- By the receipt of a reserve, as one value. They have names of their own: beside pgq_delete(id, delivery), Postgres
-- would take an overload with a text for every call with parameters of unknown type.

CREATE FUNCTION pgq_delete_by_receipt(receipt text, strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_delete_by_receipt';
COMMENT ON FUNCTION pgq_delete_by_receipt(text, boolean)
    IS 'removes the message of a receipt; true if it was good; strict raises if it was refused';

CREATE FUNCTION pgq_delete_by_receipts(receipts text[], strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_delete_by_receipts';
COMMENT ON FUNCTION pgq_delete_by_receipts(text[], boolean)
    IS 'removes the messages of receipts and returns their ids; strict raises if one was refused';

CREATE FUNCTION pgq_extend_by_receipt(receipt text, lease interval, strict boolean DEFAULT false)
    RETURNS SETOF pgq_lease LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_extend_by_receipt';
COMMENT ON FUNCTION pgq_extend_by_receipt(text, interval, boolean)
    IS 'lets a lease that is still valid end at now + lease; no row, or with strict an error, if the receipt was refused';

CREATE FUNCTION pgq_extend_by_receipts(receipts text[], lease interval, strict boolean DEFAULT false)
    RETURNS SETOF pgq_lease LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_extend_by_receipts';
COMMENT ON FUNCTION pgq_extend_by_receipts(text[], interval, boolean)
    IS 'lets leases that are still valid end at now + lease; strict raises if a receipt was refused';

CREATE FUNCTION pgq_release_by_receipt(receipt text, delay interval DEFAULT '0', strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_release_by_receipt';
COMMENT ON FUNCTION pgq_release_by_receipt(text, interval, boolean)
    IS 'gives a leased message back, at once or after a delay; true if it was put back; strict raises if the receipt was refused';

CREATE FUNCTION pgq_release_by_receipts(receipts text[], delay interval DEFAULT '0', strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_release_by_receipts';
COMMENT ON FUNCTION pgq_release_by_receipts(text[], interval, boolean)
    IS 'gives leased messages back, at once or after a delay, and returns the ids put back; strict raises if a receipt was refused';

CREATE FUNCTION pgq_fail_by_receipt(receipt text, error text, delay interval DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF pgq_failure LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_fail_by_receipt';
COMMENT ON FUNCTION pgq_fail_by_receipt(text, text, interval, boolean)
    IS 'says that work on a leased message failed: it is retried after the queue''s backoff, or dead; strict raises if the receipt was refused';

CREATE FUNCTION pgq_fail_by_receipts(receipts text[], error text, delay interval DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF pgq_failure LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_fail_by_receipts';
COMMENT ON FUNCTION pgq_fail_by_receipts(text[], text, interval, boolean)
    IS 'says that work on leased messages failed: they are retried after the queue''s backoff, or dead; strict raises if a receipt was refused';

CREATE FUNCTION pgq_bury_by_receipt(receipt text, error text, strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_bury_by_receipt';
COMMENT ON FUNCTION pgq_bury_by_receipt(text, text, boolean)
    IS 'sends a message to the dead letters at once; true if it was there; strict raises if the receipt was refused';

CREATE FUNCTION pgq_bury_by_receipts(receipts text[], error text, strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_bury_by_receipts';
COMMENT ON FUNCTION pgq_bury_by_receipts(text[], text, boolean)
    IS 'sends messages to the dead letters at once and returns their ids; strict raises if a receipt was refused';
