-- Rights: what the owner of a queue or topic has granted on it, and to whom.
--
-- Roles are kept by number, which survives a renaming and is not taken over by a later
-- role of the same name, and by name, for dumps: a dump must load where a role is
-- missing, and there its numbers mean nothing.

SET LOCAL search_path TO pg_catalog, pg_temp; -- as in tables.sql

CREATE TABLE pgqueue.privilege (
    queue     integer NOT NULL,
    role      name,
    role_id   oid,
    privilege text    NOT NULL,
    CONSTRAINT privilege_is_unique UNIQUE (queue, role_id, privilege),
    CONSTRAINT privilege_is_known CHECK (privilege IN ('push', 'consume', 'manage', 'monitor', 'publish', 'subscribe'))
) USING heap;
ALTER TABLE pgqueue.privilege REPLICA IDENTITY FULL; -- it has no key, and may be published
COMMENT ON TABLE pgqueue.privilege IS 'one row a right that was granted';
COMMENT ON COLUMN pgqueue.privilege.queue IS 'number of a queue, or of a topic (topic.sql)';
COMMENT ON COLUMN pgqueue.privilege.role IS '"public": everybody; null: the role is gone';
COMMENT ON COLUMN pgqueue.privilege.role_id IS '0: everybody; null: no role has this name';

CREATE FUNCTION pgqueue.pin_role() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'pin_role';
REVOKE ALL ON FUNCTION pgqueue.pin_role() FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.pin_role()
    IS 'notes the number of a role that is written by name; arguments: the columns of name and number';

CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.queue
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.queue ENABLE ALWAYS TRIGGER pin_role;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.queue
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.queue ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.begun_queue
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.begun_queue ENABLE ALWAYS TRIGGER pin_role;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.begun_queue
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.begun_queue ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.schedule
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.schedule ENABLE ALWAYS TRIGGER pin_role;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.schedule
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.schedule ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.privilege
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('role', 'role_id');
ALTER TABLE pgqueue.privilege ENABLE ALWAYS TRIGGER pin_role;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.privilege
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.pin_role('role', 'role_id');
ALTER TABLE pgqueue.privilege ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TRIGGER forget_queue
    AFTER INSERT OR UPDATE OR DELETE ON pgqueue.privilege
    FOR EACH ROW EXECUTE FUNCTION pgqueue.forget_queues('queue');
ALTER TABLE pgqueue.privilege ENABLE ALWAYS TRIGGER forget_queue;
CREATE TRIGGER forget_queues
    AFTER TRUNCATE ON pgqueue.privilege
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.forget_queues();
ALTER TABLE pgqueue.privilege ENABLE ALWAYS TRIGGER forget_queues;

-- With an order the planner reads one entry of the index, however few queues have all the grants.
CREATE VIEW pgqueue.queue_access AS
SELECT q.*,
       (SELECT p.queue FROM pgqueue.privilege p
         WHERE p.queue = q.id AND p.role_id IS NOT NULL
         ORDER BY p.role_id LIMIT 1) IS NOT NULL AS has_grants
  FROM pgqueue.queue q;
COMMENT ON VIEW pgqueue.queue_access IS 'queues, each with whether any rights on it are granted';

SELECT pg_catalog.pg_extension_config_dump('pgqueue.privilege', '');

SET LOCAL search_path TO @extschema@, pg_temp;

CREATE FUNCTION pgq_grant(queue text, role text, privilege text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_grant';
COMMENT ON FUNCTION pgq_grant(text, text, text)
    IS 'grants push, consume, manage or monitor on a queue to a role, or to every role (public); false if it was granted';

CREATE FUNCTION pgq_revoke(queue text, role text, privilege text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_revoke';
COMMENT ON FUNCTION pgq_revoke(text, text, text) IS 'takes back what pgq_grant granted; false if it was not granted';

CREATE FUNCTION pgq_list_grants(queue text DEFAULT NULL)
    RETURNS SETOF pgq_queue_grant LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_grants';
COMMENT ON FUNCTION pgq_list_grants(text) IS 'what was granted on the queues the caller has a right on; role public: to every role';

CREATE FUNCTION pgq_set_owner(queue text, owner text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_set_owner';
COMMENT ON FUNCTION pgq_set_owner(text, text)
    IS 'gives a queue to a role that the caller is a member of; false if it was its owner';

CREATE FUNCTION pgq_reassign_owned(old_owner text, new_owner text)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_reassign_owned';
COMMENT ON FUNCTION pgq_reassign_owned(text, text)
    IS 'gives all queues, topics, schedules and watches of one role to another and returns how many; the caller is a member of both';
