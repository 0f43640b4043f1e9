-- Makes this database a proxy for a sharded pgqueue: its pgq_ functions run on the partition
-- of their queue (docs/sharding.md). Needs PL/Proxy, and the partitions in a foreign server
-- named pgqueue:
--
--     psql -f sql/proxy/proxy.sql DATABASE
--
-- Run it again after the extension was updated on the partitions.

\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS pgqueue_proxy;
GRANT USAGE ON SCHEMA pgqueue_proxy TO PUBLIC;
COMMENT ON SCHEMA pgqueue_proxy IS 'how calls find the partition of a sharded pgqueue; use the pgq_ functions instead';
\ir place.sql
\ir check.sql
\ir route.sql
\ir remote.sql
\ir build.sql
SELECT pgqueue_proxy.build() AS schema \gset
SET LOCAL search_path = :"schema";
\ir shard.sql
\ir unschedule.sql
\ir wait.sql
COMMIT;
