DELETE FROM pgqueue.watch_seen USING unnest($2) AS gone (object_id)
 WHERE watch_seen.watch = $1 AND watch_seen.object_id = gone.object_id COLLATE "C"
