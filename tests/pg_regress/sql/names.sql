-- A name means one thing: the arguments and columns of all public functions, types and views.
CREATE TEMP VIEW public_name AS
WITH of_pgqueue AS (
    SELECT d.objid, d.classid
      FROM pg_depend d
      JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
     WHERE e.extname = 'pgqueue'
)
SELECT p.proname::text AS object, a.name, format_type(coalesce(p.proallargtypes[a.n], p.proargtypes[a.n - 1]), NULL) AS type
  FROM of_pgqueue
  JOIN pg_proc p ON classid = 'pg_proc'::regclass AND objid = p.oid,
       unnest(p.proargnames) WITH ORDINALITY AS a (name, n)
 WHERE p.proname LIKE 'pgq\_%'
 UNION ALL
SELECT c.relname, a.attname, format_type(a.atttypid, NULL)
  FROM of_pgqueue
  JOIN pg_class c ON objid IN (c.oid, nullif(c.reltype, 0)) AND c.relkind IN ('c', 'v')
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relname LIKE 'pgq\_%';
SELECT count(DISTINCT object) > 70 AS all_are_looked_at FROM public_name;
-- Each name has one type. Exceptions: headers has one for each message of a batch; ready is how many there are
-- in pgq_stats, and whether there are some in pgq_wait; page_size is a column of a view, which stays as it was.
SELECT name, string_agg(DISTINCT type, ', ' ORDER BY type) AS types FROM public_name GROUP BY name HAVING count(DISTINCT type) > 1 ORDER BY name;
-- The plural of a name is an array of it. Exception: errors is the history of a message, or of rounds.
SELECT DISTINCT many.name, many.type, one.name AS of, one.type AS not_array_of
  FROM public_name one
  JOIN public_name many ON many.name IN (one.name || 's', left(one.name, -1) || 'ies') AND many.type <> one.type || '[]'
 ORDER BY many.name, many.type;
-- A queue is called queue, or to_queue where another one is given too; name is that of a schedule or watch.
SELECT object, name FROM public_name
 WHERE name ~ '(^|_)queue' AND name NOT IN ('queue', 'to_queue') OR name = 'name' AND object !~ '_(un)?(schedules?|watch(es)?)$'
 ORDER BY object, name;
-- A role is called role where it gets rights, and owner where it has something.
SELECT name, array_agg(DISTINCT object ORDER BY object) AS objects FROM public_name WHERE name ~ 'role|owner|user' GROUP BY name ORDER BY name;
-- max is how many messages a call returns or changes at most.
SELECT object FROM public_name WHERE name = 'max' ORDER BY object;
-- All names, by their first letters: a new one is not a second one for something that has a name here.
SELECT string_agg(DISTINCT name, ' ' ORDER BY name) AS names FROM public_name GROUP BY left(name, 1) ORDER BY 1;
DROP VIEW public_name;
