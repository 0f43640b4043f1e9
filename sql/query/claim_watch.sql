-- Chooses the watch of the role $2 that has been due for longest, or the watch $3, whose run this process has
-- not finished, and notes the start of its run. If the end is never noted, the watch rests, longer with each
-- such run: so a watch that crashes its process or the server does not do so again at once.
UPDATE pgqueue.schedule
   SET started_at = clock_timestamp(),
       retry_at = clock_timestamp() + least(interval '5 s' * 2 ^ least(pauses, 10), interval '300 s')
 WHERE name = (SELECT name
                 FROM pgqueue.schedule
                WHERE coalesce(owner_id, 0) = $2 AND query IS NOT NULL
                  AND CASE WHEN $3 IS NOT NULL THEN name = $3 ELSE greatest(next_run, retry_at) <= $1 END
                ORDER BY greatest(next_run, retry_at)
                LIMIT 1
                  FOR UPDATE SKIP LOCKED)
RETURNING name
