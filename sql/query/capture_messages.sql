-- A message for each change of a row from $3 to $4. Rows without a visible change are left out, unless ($5)
-- the payload leaves out columns. The rows are compared as text: as jsonb, 1.0 would equal 1.00.
SELECT jsonb_build_object(
           'op', CASE WHEN change.old IS NULL THEN 'create' WHEN change.new IS NULL THEN 'delete' ELSE 'update' END,
           'table', $1,
           'key', (SELECT jsonb_object_agg(name, coalesce(change.new, change.old) -> name) FROM unnest($2) AS k (name)),
           'old', change.old,
           'new', change.new)
  FROM unnest($3, $4) AS change (old, new)
 WHERE $5 OR change.old::text IS DISTINCT FROM change.new::text
