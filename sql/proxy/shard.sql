-- Where a queue is, for those who would rather talk to its partition themselves.

CREATE OR REPLACE FUNCTION pgq_shard(queue text)
    RETURNS text LANGUAGE sql STABLE
    RETURN (SELECT substring(option FROM '=(.*)$')
              FROM pg_catalog.pg_foreign_server, unnest(srvoptions) AS option
             WHERE srvname = 'pgqueue'
               AND substring(option FROM '^p(\d+)=')::integer
                   = pgqueue_proxy.of_queue(queue) & (pgqueue_proxy.partitions() - 1));
COMMENT ON FUNCTION pgq_shard(text) IS 'the connection string of the partition of a queue';
