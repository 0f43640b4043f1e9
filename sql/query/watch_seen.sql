-- The objects that a watch has seen, in their order.
SELECT object_id, hash FROM pgqueue.watch_seen WHERE watch = $1 ORDER BY object_id
