-- Remembers changes of the watch $1: objects ($2) and their hashes ($3), null for those that are gone. Returns a
-- payload for each, with the old hash ($4).
WITH change AS (
    SELECT object_id, hash, old_hash, n
      FROM unnest($2, $3, $4) WITH ORDINALITY AS c (object_id, hash, old_hash, n)
), remembered AS (
    INSERT INTO pgqueue.watch_seen (watch, object_id, hash)
    SELECT $1, object_id, hash FROM change WHERE hash IS NOT NULL
    ON CONFLICT (watch, object_id) DO UPDATE SET hash = excluded.hash
)
SELECT array_agg(jsonb_build_object(
           'op', CASE WHEN old_hash IS NULL THEN 'create' WHEN hash IS NULL THEN 'delete' ELSE 'update' END,
           'watch', $1, 'object_id', object_id, 'hash', hash, 'old_hash', old_hash) ORDER BY n)
  FROM change
