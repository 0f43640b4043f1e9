-- 0.1.0 to 0.2.0: rights by queue. Roles are known by number.

ALTER TABLE pgqueue.queue ALTER COLUMN owner DROP NOT NULL, ADD COLUMN owner_id oid;
COMMENT ON COLUMN pgqueue.queue.owner IS 'role whose members may do everything with the queue; null: it is gone';
COMMENT ON COLUMN pgqueue.queue.owner_id IS 'number of that role (rights.sql); null: no role has this name';

ALTER TABLE pgqueue.schedule ALTER COLUMN owner DROP NOT NULL, ADD COLUMN owner_id oid, ADD COLUMN seen_to text COLLATE "C";
COMMENT ON COLUMN pgqueue.schedule.seen_to IS 'object behind which a watch goes on with a run that it has not finished';
COMMENT ON COLUMN pgqueue.schedule.owner IS 'role with whose rights it runs; null: it is gone';
COMMENT ON COLUMN pgqueue.schedule.owner_id IS 'number of that role (rights.sql); null: no role has this name';

SET LOCAL search_path TO pg_catalog, pg_temp;

-- A message without a key has a place too when its content is changed.
ALTER TABLE pgqueue.message
    DROP CONSTRAINT message_key_has_place,
    ADD CONSTRAINT message_key_has_place CHECK (dedup_key IS NULL OR key_place IS NOT NULL);
COMMENT ON COLUMN pgqueue.message.key_place
    IS '0: nobody has had it as it is now, and no other may wait with its dedup_key; else its id, or null';

CREATE TABLE pgqueue.dropped_queue (
    queue      integer     NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    dropped_by xid8        NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT dropped_queue_is_unique PRIMARY KEY (queue)
) USING heap;
COMMENT ON TABLE pgqueue.dropped_queue
    IS 'queues whose last messages may have yet to commit; of a queue that is just not there, as in the middle of a restore, nothing is cleared away';

CREATE TABLE pgqueue.privilege (
    queue     integer NOT NULL,
    role      name,
    role_id   oid,
    privilege text    NOT NULL,
    CONSTRAINT privilege_is_unique UNIQUE (queue, role_id, privilege),
    CONSTRAINT privilege_is_known CHECK (privilege IN ('push', 'consume', 'manage', 'monitor'))
) USING heap;
ALTER TABLE pgqueue.privilege REPLICA IDENTITY FULL; -- it has no key, and may be published
COMMENT ON TABLE pgqueue.privilege IS 'one row a right that was granted';
COMMENT ON COLUMN pgqueue.privilege.role IS '"public": everybody; null: the role is gone';
COMMENT ON COLUMN pgqueue.privilege.role_id IS '0: everybody; null: no role has this name';

CREATE FUNCTION pgqueue.pin_role() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'pin_role';
REVOKE ALL ON FUNCTION pgqueue.pin_role() FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.pin_role()
    IS 'notes the number of a role that is written by name; arguments: the columns of name and number';

CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE ON pgqueue.queue
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.queue ENABLE ALWAYS TRIGGER pin_role;

CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE ON pgqueue.schedule
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.schedule ENABLE ALWAYS TRIGGER pin_role;

CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE ON pgqueue.privilege
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('role', 'role_id');
ALTER TABLE pgqueue.privilege ENABLE ALWAYS TRIGGER pin_role;

CREATE TRIGGER forget_queues
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgqueue.privilege
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.forget_queues();
ALTER TABLE pgqueue.privilege ENABLE ALWAYS TRIGGER forget_queues;

CREATE VIEW pgqueue.queue_access AS
SELECT q.*,
       (SELECT jsonb_object_agg(p.role_id, p.privileges)
          FROM (SELECT role_id, jsonb_agg(privilege) AS privileges
                  FROM pgqueue.privilege
                 WHERE queue = q.id AND role_id IS NOT NULL
                 GROUP BY role_id) p) AS granted
  FROM pgqueue.queue q;
COMMENT ON VIEW pgqueue.queue_access IS 'queues, each with the rights granted on it: {"number of the role": ["push", "consume"]}';

SELECT pg_catalog.pg_extension_config_dump('pgqueue.privilege', '');

SET LOCAL search_path TO @extschema@, pg_temp;

CREATE FUNCTION pgq_grant(queue text, role regrole, privilege text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_grant';
COMMENT ON FUNCTION pgq_grant(text, regrole, text)
    IS 'grants push, consume, manage or monitor on a queue to a role, or to everybody (''-''); false if it was granted';

CREATE FUNCTION pgq_revoke(queue text, role regrole, privilege text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_revoke';
COMMENT ON FUNCTION pgq_revoke(text, regrole, text) IS 'takes back what pgq_grant granted; false if it was not granted';

CREATE FUNCTION pgq_list_grants(queue text DEFAULT NULL)
    RETURNS TABLE (queue_name text, role text, privilege text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_grants';
COMMENT ON FUNCTION pgq_list_grants(text) IS 'what was granted on the queues the caller has a right on; role public: to everybody';

CREATE FUNCTION pgq_set_owner(queue text, owner regrole)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_set_owner';
COMMENT ON FUNCTION pgq_set_owner(text, regrole)
    IS 'gives a queue to a role that the caller is a member of; false if it was its owner';

CREATE FUNCTION pgq_reassign_owned(old_owner regrole, new_owner regrole)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_reassign_owned';
COMMENT ON FUNCTION pgq_reassign_owned(regrole, regrole)
    IS 'gives all queues, schedules and watches of one role to another and returns how many; the caller is a member of both';

-- The trigger puts the right numbers in their place.
UPDATE pgqueue.queue SET owner_id = 0;
UPDATE pgqueue.schedule SET owner_id = 0;

-- Statements of our own run as the owner of the tables, whoever runs this.
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
