-- Everything that makes up the extension, a line each: what an upgrade must arrive at.
WITH member AS (
    SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS name
      FROM pg_depend d
      JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
     WHERE e.extname = 'pgqueue' AND d.deptype = 'e'
), relation AS (
    SELECT c.* FROM pg_class c WHERE c.relnamespace = 'pgqueue'::regnamespace
     UNION
    SELECT c.* FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
     UNION
    SELECT c.* FROM pg_class c JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = c.reltype
)
SELECT format('member %s: %s', name, obj_description(objid, classid::regclass::name)) FROM member
UNION ALL
SELECT format('relation %s %s options %s acl %s persistence %s identity %s access %s', oid::regclass, relkind, reloptions,
              relacl, relpersistence, relreplident, (SELECT amname FROM pg_am WHERE oid = relam))
  FROM relation
UNION ALL
SELECT format('column %s.%s number %s type %s collation %s not null %s default %s storage %s: %s', r.oid::regclass, a.attname,
              a.attnum, format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation, a.attnotnull,
              pg_get_expr(d.adbin, d.adrelid), a.attstorage, col_description(r.oid, a.attnum))
  FROM relation r
  JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
UNION ALL
SELECT format('constraint %s on %s: %s', c.conname, r.oid::regclass, pg_get_constraintdef(c.oid))
  FROM relation r JOIN pg_constraint c ON c.conrelid = r.oid
UNION ALL
SELECT format('index %s', pg_get_indexdef(r.oid)) FROM relation r WHERE r.relkind = 'i'
UNION ALL
SELECT format('trigger %s enabled %s', pg_get_triggerdef(t.oid), t.tgenabled)
  FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT format('view %s: %s', r.oid::regclass, pg_get_viewdef(r.oid)) FROM relation r WHERE r.relkind = 'v'
UNION ALL
SELECT format('sequence %s: %s', r.oid::regclass, to_jsonb(s) - 'seqrelid')
  FROM relation r JOIN pg_sequence s ON s.seqrelid = r.oid
UNION ALL
SELECT format('function %s acl %s rows %s cost %s', pg_get_functiondef(p.oid), p.proacl, p.prorows, p.procost)
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
UNION ALL
SELECT format('dumped %s %s', config.table_id::regclass, config.condition)
  FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS config (table_id, condition)
 WHERE e.extname = 'pgqueue'
UNION ALL
SELECT format('schema acl %s', nspacl) FROM pg_namespace WHERE nspname = 'pgqueue'
 ORDER BY 1
