-- A message for each change. Compared as text: as jsonb, 1.0 would equal 1.00.
SELECT jsonb_build_object(
           'op', CASE WHEN change.old IS NULL THEN 'create' WHEN change.new IS NULL THEN 'delete' ELSE 'update' END,
           'table', $1,
           'key', (SELECT jsonb_object_agg(name, coalesce(change.new, change.old) -> name) FROM unnest($2) AS k (name)),
           'old', change.old,
           'new', change.new)
  FROM change
 WHERE change.old::text IS DISTINCT FROM change.new::text
