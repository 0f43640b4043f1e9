-- On each partition, but only where the caller may see a schedule of that name: roles on different
-- partitions may have the same, and the other's would make the call fail when it is half done.

SELECT format($sql$
    CREATE OR REPLACE FUNCTION pgqueue_proxy.%2$I(name text) RETURNS SETOF boolean LANGUAGE plproxy AS $body$
        CLUSTER 'pgqueue';
        RUN ON ALL;
        SELECT %1$I.pgq_unschedule($1)
         WHERE $1 IS NULL OR $1 IN (SELECT s.name FROM %1$I.pgq_list_schedules() s);
    $body$
$sql$, :'schema', function) FROM unnest(ARRAY['pgq_unschedule', 'pgq_unschedule_iso']) AS function \gexec
