-- A message for each change of a row: old ($3) and new ($4), and whether values are left out of
-- them ($5). A change of the key is the end of one row and the beginning of another.
-- Compared as text: as jsonb, 1.0 would equal 1.00.
SELECT jsonb_build_object(
           'op', CASE WHEN part.old IS NULL THEN 'create' WHEN part.new IS NULL THEN 'delete' ELSE 'update' END,
           'table', $1,
           'key', (SELECT jsonb_object_agg(name, coalesce(part.new, part.old) -> name) FROM unnest($2) AS k (name)),
           'old', part.old,
           'new', part.new)
       || CASE WHEN change.cut THEN '{"truncated": true}' ELSE '{}' END::jsonb
  FROM unnest($3, $4, $5) WITH ORDINALITY AS change (old, new, cut, n),
       LATERAL (SELECT NOT EXISTS (SELECT FROM unnest($2) AS k (name)
                                    WHERE change.old -> name IS DISTINCT FROM change.new -> name)
                       OR change.old IS NULL OR change.new IS NULL AS same) AS keys,
       LATERAL (VALUES (1, change.old, change.new, true), (2, change.old, NULL, false), (3, NULL, change.new, false))
                   AS part (nth, old, new, same)
 WHERE part.same = keys.same
   AND (change.cut OR part.old::text IS DISTINCT FROM part.new::text)
 ORDER BY change.n, part.nth
