-- 0.2.0 to 0.3.0.

SET LOCAL search_path TO pg_catalog, pg_temp;

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
            WHEN m.key_place > 0 AND EXISTS (SELECT FROM pgqueue.superseded s WHERE s.id = m.id) THEN 'gone'
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

-- Batches carry a key for each message.
DROP FUNCTION @extschema@.pgq_push_batch(text, jsonb[], jsonb[], integer, interval, timestamptz, interval, text, text, text, interval, integer);
DROP FUNCTION @extschema@.pgq_push_bytes_batch(text, bytea[], jsonb[], integer, interval, timestamptz, interval, text, text, text, interval, integer);
CREATE FUNCTION @extschema@.pgq_push_batch(
    queue          text,
    payloads       jsonb[],
    headers        jsonb[]     DEFAULT NULL,
    priority       integer     DEFAULT 0,
    delay          interval    DEFAULT NULL,
    deliver_at     timestamptz DEFAULT NULL,
    ttl            interval    DEFAULT NULL,
    group_key      text        DEFAULT NULL,
    dedup_key      text        DEFAULT NULL,
    on_duplicate   text        DEFAULT 'ignore',
    lease          interval    DEFAULT NULL,
    max_deliveries integer     DEFAULT NULL,
    dedup_keys     text[]      DEFAULT NULL
) RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'pgq_push_batch';
COMMENT ON FUNCTION @extschema@.pgq_push_batch(text, jsonb[], jsonb[], integer, interval, timestamptz, interval, text, text, text, interval, integer, text[])
    IS 'puts all payloads into a queue, or none, and returns their ids in the order of the array';
CREATE FUNCTION @extschema@.pgq_push_bytes_batch(
    queue          text,
    bodies         bytea[],
    headers        jsonb[]     DEFAULT NULL,
    priority       integer     DEFAULT 0,
    delay          interval    DEFAULT NULL,
    deliver_at     timestamptz DEFAULT NULL,
    ttl            interval    DEFAULT NULL,
    group_key      text        DEFAULT NULL,
    dedup_key      text        DEFAULT NULL,
    on_duplicate   text        DEFAULT 'ignore',
    lease          interval    DEFAULT NULL,
    max_deliveries integer     DEFAULT NULL,
    dedup_keys     text[]      DEFAULT NULL
) RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'pgq_push_bytes_batch';
COMMENT ON FUNCTION @extschema@.pgq_push_bytes_batch(text, bytea[], jsonb[], integer, interval, timestamptz, interval, text, text, text, interval, integer, text[])
    IS 'puts all bodies into a queue, or none, and returns their ids in the order of the array';

-- Deliveries that consumers give back (pgqueue.message has its column already). Attempts are the others.
COMMENT ON COLUMN pgqueue.message.given_back
    IS 'how many deliveries consumers have given back; without those, deliveries are attempts';
COMMENT ON COLUMN pgqueue.message.max_deliveries IS 'attempts before the message is dead; 0: no limit; null: as the queue says';
ALTER TABLE pgqueue.dead ADD COLUMN given_back integer;
ALTER TABLE pgqueue.archive ADD COLUMN given_back integer;
ALTER TYPE @extschema@.pgq_message_details ADD ATTRIBUTE attempts integer;

-- Tenants: schedules that rest.
ALTER TABLE pgqueue.schedule ADD COLUMN retry_at timestamptz;
ALTER TABLE pgqueue.schedule ADD COLUMN pauses integer NOT NULL DEFAULT 0;
ALTER TABLE pgqueue.schedule ADD COLUMN started_at timestamptz;
COMMENT ON COLUMN pgqueue.schedule.retry_at IS 'it does not run before: something was in its way, or it took long';
COMMENT ON COLUMN pgqueue.schedule.pauses IS 'how often in a row something was in its way';
COMMENT ON COLUMN pgqueue.schedule.started_at IS 'when the run of a watch began that is not over';

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

-- Batches of receipts and ids have functions of their own, so that no driver has to say the types of its parameters.
ALTER FUNCTION @extschema@.pgq_delete(bigint[], integer[]) RENAME TO pgq_delete_batch;
ALTER FUNCTION @extschema@.pgq_extend(bigint[], interval, integer[]) RENAME TO pgq_extend_batch;
ALTER FUNCTION @extschema@.pgq_release(bigint[], interval, integer[], boolean) RENAME TO pgq_release_batch;
ALTER FUNCTION @extschema@.pgq_fail(bigint[], text, integer[], interval) RENAME TO pgq_fail_batch;
ALTER FUNCTION @extschema@.pgq_bury(bigint[], text, integer[]) RENAME TO pgq_bury_batch;
ALTER FUNCTION @extschema@.pgq_cancel(bigint[]) RENAME TO pgq_cancel_batch;
ALTER FUNCTION @extschema@.pgq_move(bigint[], text) RENAME TO pgq_move_batch;
CREATE FUNCTION @extschema@.pgq_move(id bigint, to_queue text)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_move_one';
COMMENT ON FUNCTION @extschema@.pgq_move(bigint, text)
    IS 'makes a message that is not leased a new message of another queue and returns its new id; null if it was not there';

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
        SELECT format('FUNCTION %s', p.oid::regprocedure)
          FROM pg_catalog.pg_depend d
          JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
          JOIN pg_catalog.pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
         WHERE e.extname = 'pgqueue' AND p.proowner <> owner
    LOOP
        EXECUTE format('ALTER %s OWNER TO %s', object, owner::regrole);
    END LOOP;
END $$;
