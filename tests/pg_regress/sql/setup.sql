-- A fresh extension for the files after this one.
CREATE EXTENSION pgqueue;
SHOW pgqueue.vacuum_interval;
SHOW pgqueue.auto_vacuum;
SHOW pgqueue.vacuum_page_size;
SHOW pgqueue.max_deliveries;
SHOW pgqueue.default_lease;
SHOW pgqueue.auto_create;
SHOW pgqueue.watch_timeout;
SHOW pgqueue.max_queues_hint;
-- every object carries a comment (types that come with a table or an array aside)
SELECT objid FROM (
    SELECT pg_describe_object(classid, objid, objsubid) AS objid, obj_description(objid, classid::regclass::name) AS comment
      FROM pg_depend
     WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
       AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgqueue')
       AND NOT (classid = 'pg_type'::regclass
                AND objid NOT IN (SELECT reltype FROM pg_class WHERE relkind = 'c'))
) objects WHERE comment IS NULL ORDER BY 1;
-- what pg_dump carries
SELECT unnest(extconfig)::regclass FROM pg_extension WHERE extname = 'pgqueue';
-- volatility, strictness and parallel safety of each function
SELECT provolatile, proisstrict, proparallel, count(*), string_agg(DISTINCT proname, ' ' ORDER BY proname)
  FROM pg_proc WHERE proname ~ '^pgq_' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
-- the tables are nobody's but the owner's
SELECT relname FROM pg_class
 WHERE relnamespace = 'pgqueue'::regnamespace AND relkind IN ('r', 'v', 'S')
   AND (has_table_privilege('pg_read_all_settings', oid, 'SELECT'));
