-- Compares the objects of a query ($2, $3) with those its watch ($1) has seen. Stores up to $4 differences,
-- of objects after $5, and returns a payload for each.
WITH found AS (
    SELECT object_id COLLATE "C" AS object_id, hash FROM unnest($2, $3) AS f (object_id, hash)
), seen AS (
    SELECT object_id, hash FROM pgqueue.watch_seen WHERE watch = $1
), change AS (
    SELECT object_id, found.hash, seen.hash AS old_hash,
           CASE WHEN seen.hash IS NULL THEN 'create' WHEN found.hash IS NULL THEN 'delete' ELSE 'update' END AS op
      FROM found
      FULL JOIN seen USING (object_id)
     WHERE found.hash IS DISTINCT FROM seen.hash AND ($5 IS NULL OR object_id > $5)
     ORDER BY object_id
     LIMIT $4
), forgotten AS (
    DELETE FROM pgqueue.watch_seen
     USING change
     WHERE watch_seen.watch = $1 AND watch_seen.object_id = change.object_id AND change.op = 'delete'
), remembered AS (
    INSERT INTO pgqueue.watch_seen (watch, object_id, hash)
    SELECT $1, object_id, hash FROM change WHERE op <> 'delete'
    ON CONFLICT (watch, object_id) DO UPDATE SET hash = excluded.hash
)
SELECT array_agg(jsonb_build_object('op', op, 'watch', $1, 'object_id', object_id, 'hash', hash, 'old_hash', old_hash)
                 ORDER BY object_id),
       count(*), max(object_id)
  FROM change
