-- 0.2.0 to 0.3.0.

SET LOCAL search_path TO pg_catalog, pg_temp;

-- Drivers: privileges on functions that go are kept for those that take their place (below).
SELECT set_config('pgqueue_upgrade.privileges', jsonb_agg(jsonb_build_object(
           'name', p.proname || CASE WHEN p.proargnames[1] = 'ids' THEN '_batch' ELSE '' END, 'number', p.oid, 'are_default', p.proacl IS NULL,
           'granted', (SELECT coalesce(jsonb_agg(jsonb_build_object('grantee', a.grantee, 'is_grantable', a.is_grantable)), '[]')
                         FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner)))::text, true)
  FROM pg_proc p
  JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'pgqueue'
 WHERE p.pronamespace = e.extnamespace;

-- Unique keys: the order in which the messages of a key were pushed and leased is what counts.
DROP VIEW pgqueue.message_state;
ALTER TABLE pgqueue.message ADD COLUMN key_floor bigint, ADD COLUMN given_back integer;
DROP INDEX pgqueue.message_key;
CREATE INDEX message_key ON pgqueue.message (queue, dedup_key, id) WHERE dedup_key IS NOT NULL;
COMMENT ON COLUMN pgqueue.message.key_place IS 'not above 0: not delivered as it is now, below 0: pushed while an older message of its key was not delivered either (-2: with content that replaces that one''s, -3: its producer knows it by its own id); above 0: a number that rises with each lease of a message of its key';
COMMENT ON COLUMN pgqueue.message.key_floor IS 'of the messages of its key those with smaller ids were gone when it was pushed';

-- A message that was delivered and that another of its key stands for now: a newer one that waits,
-- or one that was leased later (engine/unique.rs).
CREATE VIEW pgqueue.superseded AS
SELECT m.id
  FROM pgqueue.message m
  JOIN pgqueue.queue q ON q.id = m.queue
 WHERE m.dedup_key IS NOT NULL AND m.key_place > 0 AND m.lease_until <= clock_timestamp()
   AND EXISTS (SELECT FROM pgqueue.message other
                WHERE other.queue = m.queue AND other.dedup_key = m.dedup_key AND other.id <> m.id
                  AND (other.expires_at IS NULL OR greatest(other.expires_at, other.lease_until) > clock_timestamp())
                  AND CASE WHEN other.lease_until > clock_timestamp()
                             OR other.lease_until > '-infinity' AND q.settings ->> 'on_timeout' = 'dead'
                             OR other.deliveries - coalesce(other.given_back, 0)
                                >= nullif(coalesce(other.max_deliveries, (q.settings ->> 'max_deliveries')::integer,
                                                   current_setting('pgqueue.max_deliveries')::integer), 0)
                           THEN other.key_place > m.key_place AND other.key_place < 9223372036854775807
                           ELSE other.id > m.id END);
COMMENT ON VIEW pgqueue.superseded IS 'live messages that will not be delivered again, as another of their key stands for them';

-- A message as its readers see it: `state` is what its columns mean at this moment.
-- 'gone' is what no call will deliver any more and the next round clears away.
CREATE VIEW pgqueue.message_state AS
SELECT m.*,
       CASE WHEN m.lease_until > clock_timestamp() THEN 'leased'
            WHEN m.expires_at <= clock_timestamp() THEN 'gone'
            WHEN attempts >= limits.deliveries AND limits.deliveries > 0 THEN 'gone'
            WHEN m.lease_until > '-infinity' AND q.settings ->> 'on_timeout' = 'dead' THEN 'gone'
            -- with EXISTS the planner would rather find all superseded messages
            WHEN m.key_place > 0 AND (SELECT true FROM pgqueue.superseded s WHERE s.id = m.id LIMIT 1) THEN 'gone'
            WHEN m.lane = 'b' THEN 'blocked'
            WHEN m.due_at > clock_timestamp() THEN 'delayed'
            WHEN m.key_place < 0
                 AND EXISTS (SELECT FROM pgqueue.message first
                              WHERE first.queue = m.queue AND first.dedup_key = m.dedup_key
                                AND first.id < m.id AND first.key_place <= 0
                                AND first.lease_until <= clock_timestamp()
                                AND (first.expires_at > clock_timestamp() OR first.expires_at IS NULL)) THEN 'blocked'
            WHEN m.group_key IS NOT NULL AND NOT m.in_turn
                 AND q.settings ->> 'groups' IS DISTINCT FROM 'parallel'
                 AND EXISTS (SELECT FROM pgqueue.message first
                              WHERE first.queue = m.queue AND first.group_key = m.group_key
                                AND (first.key_place >= 0 OR first.key_place IS NULL)
                                AND (first.in_turn OR (first.priority, first.id) < (m.priority, m.id))
                                AND (first.expires_at > clock_timestamp() OR first.lease_until > clock_timestamp()
                                     OR first.expires_at IS NULL)) THEN 'blocked'
            ELSE 'ready'
       END AS state,
       attempts
  FROM pgqueue.message m
  JOIN pgqueue.queue q ON q.id = m.queue,
       LATERAL (SELECT m.deliveries - coalesce(m.given_back, 0) AS attempts) made,
       LATERAL (SELECT coalesce(m.max_deliveries,
                                (q.settings ->> 'max_deliveries')::integer,
                                current_setting('pgqueue.max_deliveries')::integer) AS deliveries) limits;
COMMENT ON VIEW pgqueue.message_state IS 'live messages with their state at this moment';

-- Deliveries that consumers give back (pgqueue.message has its column already). Attempts are the others.
COMMENT ON COLUMN pgqueue.message.given_back
    IS 'how many deliveries consumers have given back; without those, deliveries are attempts';
COMMENT ON COLUMN pgqueue.message.max_deliveries IS 'attempts before the message is dead; 0: no limit; null: as the queue says';
ALTER TABLE pgqueue.dead ADD COLUMN given_back integer;
ALTER TABLE pgqueue.archive ADD COLUMN given_back integer;
ALTER TYPE @extschema@.pgq_message_details ADD ATTRIBUTE attempts bigint;

-- Tenants: schedules that rest.
ALTER TABLE pgqueue.schedule ADD COLUMN retry_at timestamptz;
ALTER TABLE pgqueue.schedule ADD COLUMN pauses integer NOT NULL DEFAULT 0;
ALTER TABLE pgqueue.schedule ADD COLUMN started_at timestamptz;
COMMENT ON COLUMN pgqueue.schedule.retry_at IS 'it does not run before: something was in its way, or it took long';
COMMENT ON COLUMN pgqueue.schedule.pauses IS 'how often in a row something was in its way';
COMMENT ON COLUMN pgqueue.schedule.started_at IS 'when the run of a watch began that is not over';
CREATE INDEX queue_retains ON pgqueue.queue (id) WHERE settings ? 'dead_retention';
CREATE INDEX queue_notifies ON pgqueue.queue (id) WHERE settings ->> 'notify' <> 'false';
CREATE INDEX schedule_started ON pgqueue.schedule (name) WHERE started_at IS NOT NULL;
CREATE INDEX schedule_turn ON pgqueue.schedule (coalesce(owner_id, 0), greatest(next_run, retry_at), name) WHERE query IS NULL;
CREATE INDEX schedule_watch_turn ON pgqueue.schedule (coalesce(owner_id, 0), greatest(next_run, retry_at)) WHERE query IS NOT NULL;

-- Tenants: queues, rights and schedules are deleted only with the rights of their owner.
DROP TRIGGER pin_role ON pgqueue.queue;
CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.queue
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.queue ENABLE ALWAYS TRIGGER pin_role;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.queue
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.queue ENABLE ALWAYS TRIGGER refuse_truncate;
DROP TRIGGER pin_role ON pgqueue.schedule;
CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.schedule
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.schedule ENABLE ALWAYS TRIGGER pin_role;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.schedule
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.schedule ENABLE ALWAYS TRIGGER refuse_truncate;
DROP TRIGGER pin_role ON pgqueue.privilege;
CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.privilege
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('role', 'role_id');
ALTER TABLE pgqueue.privilege ENABLE ALWAYS TRIGGER pin_role;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.privilege
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.pin_role('role', 'role_id');
ALTER TABLE pgqueue.privilege ENABLE ALWAYS TRIGGER refuse_truncate;

-- Tenants: default privileges that were set before open nothing.
CREATE FUNCTION pgqueue.close_to(role oid, class oid, object oid)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'close_to';
REVOKE ALL ON FUNCTION pgqueue.close_to(oid, oid, oid) FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.close_to(oid, oid, oid) IS 'takes from a role all that was granted to it on an object';
SELECT pgqueue.close_to(a.grantee, c.tableoid, c.oid)
  FROM pg_class c, aclexplode(c.relacl) a
 WHERE c.oid IN ('pgqueue.superseded'::regclass, 'pgqueue.message_state'::regclass) AND a.grantee <> c.relowner;
SELECT pgqueue.close_to(a.grantee, f.tableoid, f.oid)
  FROM pg_proc f, aclexplode(f.proacl) a
 WHERE f.oid = 'pgqueue.close_to(oid, oid, oid)'::regprocedure AND a.grantee <> f.proowner;

-- Limits: slots name their writer, are written in place, and are not dumped. The first reserve lays
-- those of each queue out anew.
DELETE FROM pgqueue.slot;
ALTER TABLE pgqueue.slot ADD COLUMN writer bigint NOT NULL DEFAULT 0;
COMMENT ON TABLE pgqueue.slot
    IS 'as many rows a queue as its max_leased says; each holds the receipt of a lease and the transaction that wrote it there, in place, whatever became of it. Number 0: where they were laid out; negative: beyond a limit that was lowered';
SELECT pg_catalog.pg_extension_config_dump('pgqueue.slot', 'WHERE false');

-- Drivers: batches of receipts and ids have functions of their own, so that no driver has to say the types of its
-- parameters; numbers are bigint, which every driver's integers become by themselves.
DROP FUNCTION @extschema@.pgq_push(text, jsonb, jsonb, integer, interval, timestamptz, interval, text, text, text, interval, integer);
DROP FUNCTION @extschema@.pgq_push_result(text, jsonb, jsonb, integer, interval, timestamptz, interval, text, text, text, interval, integer);
DROP FUNCTION @extschema@.pgq_push_batch(text, jsonb[], jsonb[], integer, interval, timestamptz, interval, text, text, text, interval, integer);
DROP FUNCTION @extschema@.pgq_push_bytes(text, bytea, jsonb, integer, interval, timestamptz, interval, text, text, text, interval, integer);
DROP FUNCTION @extschema@.pgq_push_bytes_batch(text, bytea[], jsonb[], integer, interval, timestamptz, interval, text, text, text, interval, integer);
DROP FUNCTION @extschema@.pgq_reserve(text, interval, integer, jsonb, text, boolean);
DROP FUNCTION @extschema@.pgq_pop(text, integer, jsonb, text, boolean);
DROP FUNCTION @extschema@.pgq_next(text, bigint[], integer[], interval, integer, jsonb, text, boolean);
DROP FUNCTION @extschema@.pgq_peek(text, integer, text);
DROP PROCEDURE @extschema@.pgq_wait(text, interval, integer);
DROP FUNCTION @extschema@.pgq_delete(bigint[], integer[]);
DROP FUNCTION @extschema@.pgq_delete(bigint, integer);
DROP FUNCTION @extschema@.pgq_extend(bigint[], interval, integer[]);
DROP FUNCTION @extschema@.pgq_extend(bigint, interval, integer);
DROP FUNCTION @extschema@.pgq_release(bigint[], interval, integer[], boolean);
DROP FUNCTION @extschema@.pgq_release(bigint, interval, integer, boolean);
DROP FUNCTION @extschema@.pgq_fail(bigint[], text, integer[], interval);
DROP FUNCTION @extschema@.pgq_fail(bigint, text, integer, interval);
DROP FUNCTION @extschema@.pgq_bury(bigint[], text, integer[]);
DROP FUNCTION @extschema@.pgq_bury(bigint, text, integer);
DROP FUNCTION @extschema@.pgq_schedule(text, text, text, jsonb, jsonb, integer, text, interval, text, text, text, interval, integer);
DROP FUNCTION @extschema@.pgq_watch(text, text, text, text, integer, text);
DROP FUNCTION @extschema@.pgq_dump_dead(text, integer);
DROP FUNCTION @extschema@.pgq_peek_dead(text, integer);
DROP FUNCTION @extschema@.pgq_redrive(text, integer, text, text, boolean);
DROP FUNCTION @extschema@.pgq_update(bigint, jsonb, jsonb, integer, timestamptz);
DROP FUNCTION @extschema@.pgq_cancel(bigint[]);
DROP FUNCTION @extschema@.pgq_move(bigint[], text);
ALTER TYPE @extschema@.pgq_message ALTER ATTRIBUTE delivery TYPE bigint;
ALTER TYPE @extschema@.pgq_message ADD ATTRIBUTE receipt text;
COMMENT ON TYPE @extschema@.pgq_message IS 'a message as a consumer gets it; receipt stands for (id, delivery), and is null unless the caller has leased it';
ALTER TYPE @extschema@.pgq_message_details ALTER ATTRIBUTE delivery TYPE bigint;
CREATE FUNCTION @extschema@.pgq_push(
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
COMMENT ON FUNCTION @extschema@.pgq_push(text, jsonb, jsonb, bigint, interval, timestamptz, interval, text, text, text, interval, bigint)
    IS 'puts a message into a queue and returns its id; the queue is made on its first push';

CREATE FUNCTION @extschema@.pgq_push_result(
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
) RETURNS SETOF @extschema@.pgq_push_outcome LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_push_result';
COMMENT ON FUNCTION @extschema@.pgq_push_result(text, jsonb, jsonb, bigint, interval, timestamptz, interval, text, text, text, interval, bigint)
    IS 'pgq_push that also says what became of it: pushed, ignored or replaced';

CREATE FUNCTION @extschema@.pgq_push_batch(
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
COMMENT ON FUNCTION @extschema@.pgq_push_batch(text, jsonb[], jsonb[], bigint, interval, timestamptz, interval, text, text, text, interval, bigint, text[])
    IS 'puts all payloads into a queue, or none, and returns their ids in the order of the array';

CREATE FUNCTION @extschema@.pgq_push_bytes(
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
COMMENT ON FUNCTION @extschema@.pgq_push_bytes(text, bytea, jsonb, bigint, interval, timestamptz, interval, text, text, text, interval, bigint)
    IS 'puts opaque bytes into a queue as a message and returns its id';

CREATE FUNCTION @extschema@.pgq_push_bytes_batch(
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
COMMENT ON FUNCTION @extschema@.pgq_push_bytes_batch(text, bytea[], jsonb[], bigint, interval, timestamptz, interval, text, text, text, interval, bigint, text[])
    IS 'puts all bodies into a queue, or none, and returns their ids in the order of the array';

CREATE FUNCTION @extschema@.pgq_push_each(queue text, messages jsonb)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'pgq_push_each';
COMMENT ON FUNCTION @extschema@.pgq_push_each(text, jsonb)
    IS 'puts messages into a queue, each an object with a payload and options of its own, or none, and returns their ids in the order of the array';

CREATE FUNCTION @extschema@.pgq_reserve(
    queue     text,
    lease     interval DEFAULT NULL,
    max       bigint   DEFAULT 1,
    filter    jsonb    DEFAULT NULL,
    group_key text     DEFAULT NULL,
    lifo      boolean  DEFAULT NULL
) RETURNS SETOF @extschema@.pgq_message LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_reserve';
COMMENT ON FUNCTION @extschema@.pgq_reserve(text, interval, bigint, jsonb, text, boolean)
    IS 'leases up to max messages to the caller, by priority and then in the order of their push';

CREATE FUNCTION @extschema@.pgq_pop(
    queue     text,
    max       bigint  DEFAULT 1,
    filter    jsonb   DEFAULT NULL,
    group_key text    DEFAULT NULL,
    lifo      boolean DEFAULT NULL
) RETURNS SETOF @extschema@.pgq_message LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_pop';
COMMENT ON FUNCTION @extschema@.pgq_pop(text, bigint, jsonb, text, boolean)
    IS 'removes up to max messages and returns them: delivery at most once';

CREATE FUNCTION @extschema@.pgq_next(
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
) RETURNS SETOF @extschema@.pgq_message LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_next';
COMMENT ON FUNCTION @extschema@.pgq_next(text, bigint[], bigint[], interval, bigint, jsonb, text, boolean, boolean, boolean, text[])
    IS 'deletes the messages that are done and leases the next, in one round trip and one commit; strict raises if a receipt is refused, show_refused gives a row of its id, delivery and receipt';

CREATE FUNCTION @extschema@.pgq_peek(
    queue text,
    max   bigint DEFAULT 1,
    state text    DEFAULT 'ready'
) RETURNS SETOF @extschema@.pgq_message LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_peek';
COMMENT ON FUNCTION @extschema@.pgq_peek(text, bigint, text)
    IS 'shows up to max messages that are ready, delayed, leased or blocked, or archived ones, and changes nothing';

CREATE PROCEDURE @extschema@.pgq_wait(
    queue   text,
    timeout interval DEFAULT '30 s',
    min     bigint   DEFAULT 1,
    INOUT ready boolean DEFAULT NULL
) LANGUAGE c AS 'MODULE_PATHNAME', 'pgq_wait';
COMMENT ON PROCEDURE @extschema@.pgq_wait(text, interval, bigint, boolean)
    IS 'returns when min messages may be ready (true) or the time is up (false); holds no snapshot meanwhile';

CREATE FUNCTION @extschema@.pgq_delete_batch(ids bigint[], deliveries bigint[] DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_delete';
COMMENT ON FUNCTION @extschema@.pgq_delete_batch(bigint[], bigint[], boolean)
    IS 'removes messages and returns the ids that were there and are gone; strict raises unless all were';

CREATE FUNCTION @extschema@.pgq_delete(id bigint, delivery bigint DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_delete_one';
COMMENT ON FUNCTION @extschema@.pgq_delete(bigint, bigint, boolean)
    IS 'removes a message; true if it was there; strict raises if it was not';

CREATE FUNCTION @extschema@.pgq_extend_batch(ids bigint[], lease interval, deliveries bigint[] DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF @extschema@.pgq_lease LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_extend';
COMMENT ON FUNCTION @extschema@.pgq_extend_batch(bigint[], interval, bigint[], boolean)
    IS 'lets leases that are still valid end at now + lease; strict raises unless all are';

CREATE FUNCTION @extschema@.pgq_extend(id bigint, lease interval, delivery bigint DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF @extschema@.pgq_lease LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_extend_one';
COMMENT ON FUNCTION @extschema@.pgq_extend(bigint, interval, bigint, boolean)
    IS 'lets a lease that is still valid end at now + lease; no row, or with strict an error, if it is not';

CREATE FUNCTION @extschema@.pgq_release_batch(ids bigint[], delay interval DEFAULT '0', deliveries bigint[] DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_release';
COMMENT ON FUNCTION @extschema@.pgq_release_batch(bigint[], interval, bigint[], boolean)
    IS 'gives leased messages back, at once or after a delay, and returns the ids put back; strict raises unless all were';

CREATE FUNCTION @extschema@.pgq_release(id bigint, delay interval DEFAULT '0', delivery bigint DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_release_one';
COMMENT ON FUNCTION @extschema@.pgq_release(bigint, interval, bigint, boolean)
    IS 'gives a leased message back, at once or after a delay; true if it was put back; strict raises if it was not';

CREATE FUNCTION @extschema@.pgq_fail_batch(ids bigint[], error text, deliveries bigint[] DEFAULT NULL, delay interval DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF @extschema@.pgq_failure LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_fail';
COMMENT ON FUNCTION @extschema@.pgq_fail_batch(bigint[], text, bigint[], interval, boolean)
    IS 'says that work on leased messages failed: they are retried after the queue''s backoff, or dead; strict raises unless all were leased';

CREATE FUNCTION @extschema@.pgq_fail(id bigint, error text, delivery bigint DEFAULT NULL, delay interval DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF @extschema@.pgq_failure LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_fail_one';
COMMENT ON FUNCTION @extschema@.pgq_fail(bigint, text, bigint, interval, boolean)
    IS 'says that work on a leased message failed: it is retried after the queue''s backoff, or dead; strict raises if it was not leased';

CREATE FUNCTION @extschema@.pgq_bury_batch(ids bigint[], error text, deliveries bigint[] DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_bury';
COMMENT ON FUNCTION @extschema@.pgq_bury_batch(bigint[], text, bigint[], boolean)
    IS 'sends messages to the dead letters at once and returns their ids; strict raises unless all were there';

CREATE FUNCTION @extschema@.pgq_bury(id bigint, error text, delivery bigint DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_bury_one';
COMMENT ON FUNCTION @extschema@.pgq_bury(bigint, text, bigint, boolean)
    IS 'sends a message to the dead letters at once; true if it was there; strict raises if it was not';

CREATE FUNCTION @extschema@.pgq_delete_by_receipt(receipt text, strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_delete_by_receipt';
COMMENT ON FUNCTION @extschema@.pgq_delete_by_receipt(text, boolean)
    IS 'removes the message of a receipt; true if it was good; strict raises if it was refused';

CREATE FUNCTION @extschema@.pgq_delete_by_receipts(receipts text[], strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_delete_by_receipts';
COMMENT ON FUNCTION @extschema@.pgq_delete_by_receipts(text[], boolean)
    IS 'removes the messages of receipts and returns their ids; strict raises if one was refused';

CREATE FUNCTION @extschema@.pgq_extend_by_receipt(receipt text, lease interval, strict boolean DEFAULT false)
    RETURNS SETOF @extschema@.pgq_lease LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_extend_by_receipt';
COMMENT ON FUNCTION @extschema@.pgq_extend_by_receipt(text, interval, boolean)
    IS 'lets a lease that is still valid end at now + lease; no row, or with strict an error, if the receipt was refused';

CREATE FUNCTION @extschema@.pgq_extend_by_receipts(receipts text[], lease interval, strict boolean DEFAULT false)
    RETURNS SETOF @extschema@.pgq_lease LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_extend_by_receipts';
COMMENT ON FUNCTION @extschema@.pgq_extend_by_receipts(text[], interval, boolean)
    IS 'lets leases that are still valid end at now + lease; strict raises if a receipt was refused';

CREATE FUNCTION @extschema@.pgq_release_by_receipt(receipt text, delay interval DEFAULT '0', strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_release_by_receipt';
COMMENT ON FUNCTION @extschema@.pgq_release_by_receipt(text, interval, boolean)
    IS 'gives a leased message back, at once or after a delay; true if it was put back; strict raises if the receipt was refused';

CREATE FUNCTION @extschema@.pgq_release_by_receipts(receipts text[], delay interval DEFAULT '0', strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_release_by_receipts';
COMMENT ON FUNCTION @extschema@.pgq_release_by_receipts(text[], interval, boolean)
    IS 'gives leased messages back, at once or after a delay, and returns the ids put back; strict raises if a receipt was refused';

CREATE FUNCTION @extschema@.pgq_fail_by_receipt(receipt text, error text, delay interval DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF @extschema@.pgq_failure LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'pgq_fail_by_receipt';
COMMENT ON FUNCTION @extschema@.pgq_fail_by_receipt(text, text, interval, boolean)
    IS 'says that work on a leased message failed: it is retried after the queue''s backoff, or dead; strict raises if the receipt was refused';

CREATE FUNCTION @extschema@.pgq_fail_by_receipts(receipts text[], error text, delay interval DEFAULT NULL, strict boolean DEFAULT false)
    RETURNS SETOF @extschema@.pgq_failure LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_fail_by_receipts';
COMMENT ON FUNCTION @extschema@.pgq_fail_by_receipts(text[], text, interval, boolean)
    IS 'says that work on leased messages failed: they are retried after the queue''s backoff, or dead; strict raises if a receipt was refused';

CREATE FUNCTION @extschema@.pgq_bury_by_receipt(receipt text, error text, strict boolean DEFAULT false)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_bury_by_receipt';
COMMENT ON FUNCTION @extschema@.pgq_bury_by_receipt(text, text, boolean)
    IS 'sends a message to the dead letters at once; true if it was there; strict raises if the receipt was refused';

CREATE FUNCTION @extschema@.pgq_bury_by_receipts(receipts text[], error text, strict boolean DEFAULT false)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_bury_by_receipts';
COMMENT ON FUNCTION @extschema@.pgq_bury_by_receipts(text[], text, boolean)
    IS 'sends messages to the dead letters at once and returns their ids; strict raises if a receipt was refused';

CREATE FUNCTION @extschema@.pgq_update(
    id         bigint,
    payload    jsonb       DEFAULT NULL,
    headers    jsonb       DEFAULT NULL,
    priority   bigint      DEFAULT NULL,
    deliver_at timestamptz DEFAULT NULL
) RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_update';
COMMENT ON FUNCTION @extschema@.pgq_update(bigint, jsonb, jsonb, bigint, timestamptz)
    IS 'changes a message that is not leased, nulls leave things as they are; false if it was not there';

CREATE FUNCTION @extschema@.pgq_cancel_batch(ids bigint[])
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_cancel';
COMMENT ON FUNCTION @extschema@.pgq_cancel_batch(bigint[])
    IS 'removes messages that are not leased and returns the ids that are gone';

CREATE FUNCTION @extschema@.pgq_move_batch(ids bigint[], to_queue text)
    RETURNS TABLE (id bigint, new_id bigint)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_move';
COMMENT ON FUNCTION @extschema@.pgq_move_batch(bigint[], text)
    IS 'makes messages that are not leased new messages of another queue and returns their ids, old and new';

CREATE FUNCTION @extschema@.pgq_move(id bigint, to_queue text)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_move_one';
COMMENT ON FUNCTION @extschema@.pgq_move(bigint, text)
    IS 'makes a message that is not leased a new message of another queue and returns its new id; null if it was not there';

CREATE FUNCTION @extschema@.pgq_dump_dead(queue text, max bigint DEFAULT 1)
    RETURNS TABLE (id bigint, payload jsonb, body bytea, headers jsonb, delivery bigint, reason text,
                   errors jsonb, enqueued_at timestamptz, died_at timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_dump_dead';
COMMENT ON FUNCTION @extschema@.pgq_dump_dead(text, bigint)
    IS 'removes up to max dead letters from the database, oldest first, and returns them';

CREATE FUNCTION @extschema@.pgq_peek_dead(queue text, max bigint DEFAULT 1)
    RETURNS TABLE (id bigint, payload jsonb, body bytea, headers jsonb, delivery bigint, reason text,
                   errors jsonb, enqueued_at timestamptz, died_at timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_peek_dead';
COMMENT ON FUNCTION @extschema@.pgq_peek_dead(text, bigint)
    IS 'shows up to max dead letters, oldest first, and changes nothing';

CREATE FUNCTION @extschema@.pgq_redrive(
    queue    text,
    max      bigint DEFAULT NULL,
    to_queue text    DEFAULT NULL,
    reason   text    DEFAULT NULL,
    reset    boolean DEFAULT true
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_redrive';
COMMENT ON FUNCTION @extschema@.pgq_redrive(text, bigint, text, text, boolean)
    IS 'sends dead letters back to their queue, or to another, and returns how many went; reset => false grants one more try';

CREATE FUNCTION @extschema@.pgq_redrive_dead(id bigint, to_queue text DEFAULT NULL, reset boolean DEFAULT true)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_redrive_dead';
COMMENT ON FUNCTION @extschema@.pgq_redrive_dead(bigint, text, boolean)
    IS 'sends one dead letter back to its queue, or to another, and returns the id of the message; null if it is not there';

CREATE FUNCTION @extschema@.pgq_redrive_dead_batch(ids bigint[], to_queue text DEFAULT NULL, reset boolean DEFAULT true)
    RETURNS TABLE (id bigint, new_id bigint)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_redrive_dead_batch';
COMMENT ON FUNCTION @extschema@.pgq_redrive_dead_batch(bigint[], text, boolean)
    IS 'sends dead letters back to their queues, or to another, and returns their ids, old and new';

CREATE FUNCTION @extschema@.pgq_delete_dead(id bigint)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_delete_dead';
COMMENT ON FUNCTION @extschema@.pgq_delete_dead(bigint)
    IS 'removes one dead letter; true if it was there';

CREATE FUNCTION @extschema@.pgq_delete_dead_batch(ids bigint[])
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_delete_dead_batch';
COMMENT ON FUNCTION @extschema@.pgq_delete_dead_batch(bigint[])
    IS 'removes dead letters and returns the ids that were there';

CREATE FUNCTION @extschema@.pgq_schedule(
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
COMMENT ON FUNCTION @extschema@.pgq_schedule(text, text, text, jsonb, jsonb, bigint, text, interval, text, text, text, interval, bigint)
    IS 'has the worker push a message again and again, by a cron line or a span of time, and returns when it will first';

CREATE FUNCTION @extschema@.pgq_watch(
    name      text,
    queue     text,
    query     text,
    every     text,
    page_size bigint DEFAULT 1000,
    time_zone text   DEFAULT 'UTC'
) RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_watch';
COMMENT ON FUNCTION @extschema@.pgq_watch(text, text, text, text, bigint, text)
    IS 'has the worker run a query of (object_id, hash) again and again and push what has changed, and returns when it will first';

-- Drivers: a number beside an interval, which not every client reads.
ALTER TYPE @extschema@.pgq_queue_stats ADD ATTRIBUTE oldest_ready_seconds double precision;

-- Names: what is one thing has one name, and a name one type. A role is named as pg_roles has it.
ALTER TYPE @extschema@.pgq_message ALTER ATTRIBUTE priority TYPE bigint;
ALTER TYPE @extschema@.pgq_message_details ALTER ATTRIBUTE priority TYPE bigint;
ALTER TYPE @extschema@.pgq_message_details ALTER ATTRIBUTE max_deliveries TYPE bigint;
ALTER TYPE @extschema@.pgq_message_details RENAME ATTRIBUTE due_at TO deliver_at;
DROP FUNCTION @extschema@.pgq_list_queues();
DROP FUNCTION @extschema@.pgq_list_schedules();
DROP FUNCTION @extschema@.pgq_list_watches();
DROP FUNCTION @extschema@.pgq_grant(text, regrole, text);
DROP FUNCTION @extschema@.pgq_revoke(text, regrole, text);
DROP FUNCTION @extschema@.pgq_list_grants(text);
DROP FUNCTION @extschema@.pgq_set_owner(text, regrole);
DROP FUNCTION @extschema@.pgq_reassign_owned(regrole, regrole);
CREATE TYPE @extschema@.pgq_queue_grant AS (queue text, role text, privilege text);
COMMENT ON TYPE @extschema@.pgq_queue_grant IS 'a right that was granted on a queue; role public: to every role';

CREATE FUNCTION @extschema@.pgq_list_queues()
    RETURNS TABLE (queue text, owner text, settings jsonb, created_at timestamptz, paused boolean)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_queues';
COMMENT ON FUNCTION @extschema@.pgq_list_queues() IS 'the queues the caller has a right on';

CREATE FUNCTION @extschema@.pgq_list_schedules()
    RETURNS TABLE (name text, queue text, every text, time_zone text, payload jsonb, headers jsonb, priority bigint,
                   next_run timestamptz, last_run timestamptz, last_error text, owner text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_schedules';
COMMENT ON FUNCTION @extschema@.pgq_list_schedules() IS 'the schedules the caller has a right on';

CREATE FUNCTION @extschema@.pgq_list_watches()
    RETURNS TABLE (name text, queue text, query text, every text, time_zone text, page_size bigint,
                   next_run timestamptz, last_run timestamptz, last_error text, owner text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_watches';
COMMENT ON FUNCTION @extschema@.pgq_list_watches() IS 'the watches the caller has a right on';

CREATE FUNCTION @extschema@.pgq_grant(queue text, role text, privilege text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_grant';
COMMENT ON FUNCTION @extschema@.pgq_grant(text, text, text)
    IS 'grants push, consume, manage or monitor on a queue to a role, or to every role (public); false if it was granted';

CREATE FUNCTION @extschema@.pgq_revoke(queue text, role text, privilege text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_revoke';
COMMENT ON FUNCTION @extschema@.pgq_revoke(text, text, text) IS 'takes back what pgq_grant granted; false if it was not granted';

CREATE FUNCTION @extschema@.pgq_list_grants(queue text DEFAULT NULL)
    RETURNS SETOF @extschema@.pgq_queue_grant LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_grants';
COMMENT ON FUNCTION @extschema@.pgq_list_grants(text) IS 'what was granted on the queues the caller has a right on; role public: to every role';

CREATE FUNCTION @extschema@.pgq_set_owner(queue text, owner text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_set_owner';
COMMENT ON FUNCTION @extschema@.pgq_set_owner(text, text)
    IS 'gives a queue to a role that the caller is a member of; false if it was its owner';

CREATE FUNCTION @extschema@.pgq_reassign_owned(old_owner text, new_owner text)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_reassign_owned';
COMMENT ON FUNCTION @extschema@.pgq_reassign_owned(text, text)
    IS 'gives all queues, topics, schedules and watches of one role to another and returns how many; the caller is a member of both';

-- Drivers: the roles that could call the old functions can call the new ones. A GRANT in a script counts as the
-- extension's own, which no dump has; these are the users'.
DO $$
DECLARE
    made  record;
    other oid;
    given record;
BEGIN
    FOR made IN
        SELECT p.oid, p.oid::regprocedure AS routine, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl, before.granted
          FROM jsonb_to_recordset(current_setting('pgqueue_upgrade.privileges')::jsonb)
               AS before (name text, number oid, are_default boolean, granted jsonb)
          JOIN pg_proc p ON p.proname IN (before.name, CASE before.name WHEN 'pgq_move_batch' THEN 'pgq_move' END)
          JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
          JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'pgqueue'
         WHERE p.pronamespace = e.extnamespace AND p.oid <> before.number AND NOT (before.are_default AND p.proacl IS NULL)
    LOOP
        FOR other IN SELECT grantee FROM aclexplode(made.acl) WHERE grantee <> made.proowner LOOP
            EXECUTE format('REVOKE ALL ON ROUTINE %s FROM %s', made.routine,
                           CASE other WHEN 0 THEN 'PUBLIC' ELSE other::regrole::text END);
        END LOOP;
        FOR given IN SELECT * FROM jsonb_to_recordset(made.granted) AS g (grantee oid, is_grantable boolean) LOOP
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s%s', made.routine,
                           CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE given.grantee::regrole::text END,
                           CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION' END);
        END LOOP;
        DELETE FROM pg_init_privs WHERE classoid = 'pg_proc'::regclass AND objoid = made.oid;
        DELETE FROM pg_shdepend
         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND classid = 'pg_proc'::regclass AND objid = made.oid AND deptype = 'i';
    END LOOP;
END $$;

-- Tools: a TRUNCATE of messages is refused.
CREATE FUNCTION pgqueue.refuse_truncate() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'refuse_truncate';
REVOKE ALL ON FUNCTION pgqueue.refuse_truncate() FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.refuse_truncate()
    IS 'raises: a TRUNCATE does not say which messages go, so they would stay counted, and their limits used up';

CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.message
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.refuse_truncate();
ALTER TABLE pgqueue.message ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.dead
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.refuse_truncate();
ALTER TABLE pgqueue.dead ENABLE ALWAYS TRIGGER refuse_truncate;

-- Queues: a push waits for no other transaction that is making its queue.
CREATE TABLE pgqueue.begun_queue (
    queue    integer NOT NULL,
    name     text    NOT NULL COLLATE "C",
    owner    name,
    owner_id oid,
    grants   text
) USING heap;
SELECT pg_catalog.pg_extension_config_dump('pgqueue.begun_queue', '');
CREATE INDEX begun_queue_by_name ON pgqueue.begun_queue (name);
CREATE INDEX begun_queue_by_number ON pgqueue.begun_queue (queue);
ALTER TABLE pgqueue.begun_queue REPLICA IDENTITY FULL; -- it has no key, and may be published
COMMENT ON TABLE pgqueue.begun_queue
    IS 'one row a transaction that has pushed to a queue which another open one was making: if that is rolled back, the queue is made as these rows say';
COMMENT ON COLUMN pgqueue.begun_queue.grants IS 'rights on it that the transaction has set for other roles (pgqueue.default_grants)';

CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.begun_queue
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.begun_queue ENABLE ALWAYS TRIGGER pin_role;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.begun_queue
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.begun_queue ENABLE ALWAYS TRIGGER refuse_truncate;
SELECT pgqueue.close_to(a.grantee, c.tableoid, c.oid)
  FROM pg_class c, aclexplode(c.relacl) a
 WHERE c.oid = 'pgqueue.begun_queue'::regclass AND a.grantee <> c.relowner;

-- Queues: sessions read anew only the queue that has changed.
DROP TRIGGER forget_queues ON pgqueue.queue;
CREATE TRIGGER forget_queue
    AFTER INSERT OR UPDATE OR DELETE ON pgqueue.queue
    FOR EACH ROW EXECUTE FUNCTION pgqueue.forget_queues('id');
ALTER TABLE pgqueue.queue ENABLE ALWAYS TRIGGER forget_queue;
CREATE TRIGGER forget_queues
    AFTER TRUNCATE ON pgqueue.queue
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.forget_queues();
ALTER TABLE pgqueue.queue ENABLE ALWAYS TRIGGER forget_queues;
DROP TRIGGER forget_queues ON pgqueue.privilege;
CREATE TRIGGER forget_queue
    AFTER INSERT OR UPDATE OR DELETE ON pgqueue.privilege
    FOR EACH ROW EXECUTE FUNCTION pgqueue.forget_queues('queue');
ALTER TABLE pgqueue.privilege ENABLE ALWAYS TRIGGER forget_queue;
CREATE TRIGGER forget_queues
    AFTER TRUNCATE ON pgqueue.privilege
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.forget_queues();
ALTER TABLE pgqueue.privilege ENABLE ALWAYS TRIGGER forget_queues;
COMMENT ON FUNCTION pgqueue.forget_queues()
    IS 'makes every session read a queue anew at its next call; argument: the column of its number. Without rows: all queues';
DROP VIEW pgqueue.queue_access;
CREATE VIEW pgqueue.queue_access AS
SELECT q.*,
       (SELECT p.queue FROM pgqueue.privilege p
         WHERE p.queue = q.id AND p.role_id IS NOT NULL
         ORDER BY p.role_id LIMIT 1) IS NOT NULL AS has_grants
  FROM pgqueue.queue q;
COMMENT ON VIEW pgqueue.queue_access IS 'queues, each with whether any rights on it are granted';

-- Topics.
ALTER TABLE pgqueue.privilege DROP CONSTRAINT privilege_is_known;
ALTER TABLE pgqueue.privilege
    ADD CONSTRAINT privilege_is_known CHECK (privilege IN ('push', 'consume', 'manage', 'monitor', 'publish', 'subscribe'));
COMMENT ON COLUMN pgqueue.privilege.queue IS 'number of a queue, or of a topic (topic.sql)';

CREATE TABLE pgqueue.topic (
    id         integer     NOT NULL DEFAULT nextval('pgqueue.queue_id'),
    name       text        NOT NULL COLLATE "C",
    owner      name,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    owner_id   oid,
    CONSTRAINT topic_id_is_unique PRIMARY KEY (id),
    CONSTRAINT topic_name_is_unique UNIQUE (name)
) USING heap;
COMMENT ON TABLE pgqueue.topic IS 'one row a topic';
COMMENT ON COLUMN pgqueue.topic.id IS 'a number that no queue has';
COMMENT ON COLUMN pgqueue.topic.owner IS 'role whose members may do everything with the topic; null: it is gone';
COMMENT ON COLUMN pgqueue.topic.owner_id IS 'number of that role (rights.sql); null: no role has this name';

CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.topic
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.topic ENABLE ALWAYS TRIGGER pin_role;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.topic
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.topic ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER forget_queue
    AFTER INSERT OR UPDATE OR DELETE ON pgqueue.topic
    FOR EACH ROW EXECUTE FUNCTION pgqueue.forget_queues('id');
ALTER TABLE pgqueue.topic ENABLE ALWAYS TRIGGER forget_queue;
CREATE TRIGGER forget_queues
    AFTER TRUNCATE ON pgqueue.topic
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.forget_queues();
ALTER TABLE pgqueue.topic ENABLE ALWAYS TRIGGER forget_queues;

CREATE TABLE pgqueue.subscription (
    topic   integer NOT NULL,
    queue   integer NOT NULL,
    pattern text    NOT NULL COLLATE "C",
    CONSTRAINT subscription_is_unique PRIMARY KEY (topic, queue, pattern),
    CONSTRAINT subscription_of_topic FOREIGN KEY (topic) REFERENCES pgqueue.topic (id) ON DELETE CASCADE,
    CONSTRAINT subscription_of_queue FOREIGN KEY (queue) REFERENCES pgqueue.queue (id) ON DELETE CASCADE
) USING heap;
CREATE INDEX subscription_by_queue ON pgqueue.subscription (queue);
COMMENT ON TABLE pgqueue.subscription IS 'one row a pattern with which a queue is subscribed to a topic';

CREATE FUNCTION pgqueue.refuse_others() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'refuse_others';
REVOKE ALL ON FUNCTION pgqueue.refuse_others() FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.refuse_others()
    IS 'refuses the writes of roles without the rights of the owner of the table';

CREATE TRIGGER refuse_others
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.subscription
    FOR EACH ROW EXECUTE FUNCTION pgqueue.refuse_others();
ALTER TABLE pgqueue.subscription ENABLE ALWAYS TRIGGER refuse_others;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.subscription
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.refuse_others();
ALTER TABLE pgqueue.subscription ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER forget_queue
    AFTER INSERT OR UPDATE OR DELETE ON pgqueue.subscription
    FOR EACH ROW EXECUTE FUNCTION pgqueue.forget_queues('topic');
ALTER TABLE pgqueue.subscription ENABLE ALWAYS TRIGGER forget_queue;
CREATE TRIGGER forget_queues
    AFTER TRUNCATE ON pgqueue.subscription
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.forget_queues();
ALTER TABLE pgqueue.subscription ENABLE ALWAYS TRIGGER forget_queues;

CREATE VIEW pgqueue.topic_access AS
SELECT t.*,
       (SELECT p.queue FROM pgqueue.privilege p
         WHERE p.queue = t.id AND p.role_id IS NOT NULL
         ORDER BY p.role_id LIMIT 1) IS NOT NULL AS has_grants
  FROM pgqueue.topic t;
COMMENT ON VIEW pgqueue.topic_access IS 'topics, each with whether any rights on it are granted';

SELECT pg_catalog.pg_extension_config_dump('pgqueue.topic', '');
SELECT pg_catalog.pg_extension_config_dump('pgqueue.subscription', '');

CREATE FUNCTION @extschema@.pgq_create_topic(topic text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_create_topic';
COMMENT ON FUNCTION @extschema@.pgq_create_topic(text) IS 'makes a topic; false if it was there';

CREATE FUNCTION @extschema@.pgq_drop_topic(topic text)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_drop_topic';
COMMENT ON FUNCTION @extschema@.pgq_drop_topic(text)
    IS 'removes a topic with its subscriptions and returns how many those were; the queues and their messages stay';

CREATE FUNCTION @extschema@.pgq_list_topics()
    RETURNS TABLE (topic text, owner text, created_at timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_topics';
COMMENT ON FUNCTION @extschema@.pgq_list_topics() IS 'the topics the caller has a right on';

CREATE FUNCTION @extschema@.pgq_subscribe(topic text, queue text, pattern text DEFAULT '#')
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_subscribe';
COMMENT ON FUNCTION @extschema@.pgq_subscribe(text, text, text)
    IS 'puts messages of a topic whose routing keys match a pattern into a queue from now on; false if that was so';

CREATE FUNCTION @extschema@.pgq_unsubscribe(topic text, queue text, pattern text DEFAULT NULL)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_unsubscribe';
COMMENT ON FUNCTION @extschema@.pgq_unsubscribe(text, text, text)
    IS 'removes one pattern of a queue from a topic, or all, and returns how many there were';

CREATE TYPE @extschema@.pgq_topic_subscription AS (topic text, queue text, pattern text, active boolean);
COMMENT ON TYPE @extschema@.pgq_topic_subscription
    IS 'a pattern with which a queue is subscribed to a topic; active: the owner of the queue has the right subscribe';

CREATE FUNCTION @extschema@.pgq_list_subscriptions(topic text DEFAULT NULL)
    RETURNS SETOF @extschema@.pgq_topic_subscription LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_subscriptions';
COMMENT ON FUNCTION @extschema@.pgq_list_subscriptions(text)
    IS 'the subscriptions of the topics the caller owns, and of the queues the caller has a right on';

CREATE FUNCTION @extschema@.pgq_publish(
    topic          text,
    payload        jsonb,
    routing_key    text        DEFAULT '',
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
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_publish';
COMMENT ON FUNCTION @extschema@.pgq_publish(text, jsonb, text, jsonb, bigint, interval, timestamptz, interval, text, text, text, interval, bigint)
    IS 'puts a message into each queue that is subscribed with a matching pattern; the owner of the topic gets their number, others null';

CREATE FUNCTION @extschema@.pgq_publish_batch(
    topic          text,
    payloads       jsonb[],
    routing_keys   text[]      DEFAULT NULL,
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
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_publish_batch';
COMMENT ON FUNCTION @extschema@.pgq_publish_batch(text, jsonb[], text[], jsonb[], bigint, interval, timestamptz, interval, text, text, text, interval, bigint, text[])
    IS 'publishes all payloads to a topic, or none; its owner gets the number of messages that queues got, others null';

CREATE FUNCTION @extschema@.pgq_grant_topic(topic text, role text, privilege text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_grant_topic';
COMMENT ON FUNCTION @extschema@.pgq_grant_topic(text, text, text)
    IS 'grants publish or subscribe on a topic to a role, or to every role (public); false if it was granted';

CREATE FUNCTION @extschema@.pgq_revoke_topic(topic text, role text, privilege text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_revoke_topic';
COMMENT ON FUNCTION @extschema@.pgq_revoke_topic(text, text, text) IS 'takes back what pgq_grant_topic granted; false if it was not granted';

CREATE TYPE @extschema@.pgq_topic_grant AS (topic text, role text, privilege text);
COMMENT ON TYPE @extschema@.pgq_topic_grant IS 'a right that was granted on a topic; role public: to every role';

CREATE FUNCTION @extschema@.pgq_list_topic_grants(topic text DEFAULT NULL)
    RETURNS SETOF @extschema@.pgq_topic_grant LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_topic_grants';
COMMENT ON FUNCTION @extschema@.pgq_list_topic_grants(text)
    IS 'what was granted on the topics the caller owns; role public: to every role';

CREATE FUNCTION @extschema@.pgq_set_topic_owner(topic text, owner text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_set_topic_owner';
COMMENT ON FUNCTION @extschema@.pgq_set_topic_owner(text, text)
    IS 'gives a topic to a role that the caller is a member of; false if it was its owner';

SELECT pgqueue.close_to(a.grantee, c.tableoid, c.oid)
  FROM pg_class c, aclexplode(c.relacl) a
 WHERE c.oid IN ('pgqueue.topic'::regclass, 'pgqueue.subscription'::regclass, 'pgqueue.topic_access'::regclass) AND a.grantee <> c.relowner;

-- Last: statements of our own run as the owner of the tables, whichever role upgrades.
DO $$
DECLARE
    owner CONSTANT oid := (SELECT relowner FROM pg_catalog.pg_class WHERE oid = 'pgqueue.message'::regclass);
    object text;
BEGIN
    FOR object IN
        SELECT format('%s %s', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass)
          FROM pg_catalog.pg_class c
         WHERE c.relnamespace = 'pgqueue'::regnamespace AND c.relkind IN ('r', 'v') AND c.relowner <> owner
         UNION ALL
        SELECT format('TYPE %s', t.oid::regtype)
          FROM pg_catalog.pg_depend d
          JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
          JOIN pg_catalog.pg_type t ON d.classid = 'pg_type'::regclass AND d.objid = t.oid
         WHERE e.extname = 'pgqueue' AND t.typowner <> owner
         UNION ALL
        SELECT format('ROUTINE %s', p.oid::regprocedure)
          FROM pg_catalog.pg_depend d
          JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
          JOIN pg_catalog.pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
         WHERE e.extname = 'pgqueue' AND p.proowner <> owner
    LOOP
        EXECUTE format('ALTER %s OWNER TO %s', object, owner::regrole);
    END LOOP;
END $$;
