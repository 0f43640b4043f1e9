-- The change of one row, or, if it has changed its key, the end of one and the
-- beginning of another.
SELECT part.old, part.new
  FROM (SELECT to_jsonb($3) AS old, to_jsonb($4) AS new OFFSET 0) AS docs, -- each becomes JSON once
       LATERAL (SELECT NOT EXISTS (SELECT FROM unnest($2) AS k (name)
                                    WHERE docs.old -> name IS DISTINCT FROM docs.new -> name) AS same) AS keys,
       LATERAL (VALUES (docs.old, docs.new, true), (docs.old, NULL, false), (NULL, docs.new, false)) AS part (old, new, same)
 WHERE part.same = keys.same
