-- No role but their owner has a right on our tables, whatever default privileges the database has:
-- what those have granted on a new object is taken back. Rights that are granted later stay.

SET LOCAL search_path TO pg_catalog, pg_temp; -- as in tables.sql

CREATE FUNCTION pgqueue.close_to(role oid, class oid, object oid)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'close_to';
REVOKE ALL ON FUNCTION pgqueue.close_to(oid, oid, oid) FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.close_to(oid, oid, oid) IS 'takes from a role all that was granted to it on an object';

SELECT pgqueue.close_to(a.grantee, c.tableoid, c.oid)
  FROM pg_class c, aclexplode(c.relacl) a
 WHERE c.relnamespace = 'pgqueue'::regnamespace AND a.grantee <> c.relowner;
SELECT pgqueue.close_to(a.grantee, f.tableoid, f.oid)
  FROM pg_proc f, aclexplode(f.proacl) a
 WHERE f.pronamespace = 'pgqueue'::regnamespace AND a.grantee <> f.proowner;
SELECT pgqueue.close_to(a.grantee, n.tableoid, n.oid)
  FROM pg_namespace n, aclexplode(n.nspacl) a
 WHERE n.nspname = 'pgqueue' AND a.grantee <> n.nspowner;
