-- Deletes rows that transactions have left which were running when their queue was dropped, up to $2 rows of
-- a kind; sweep_window.sql finds their messages. Rows that another transaction has locked are skipped. A
-- dropped queue ($1) is forgotten if nothing of it is left and it was dropped by a transaction before $3, or a
-- day ago.
WITH letters AS (
    DELETE FROM pgqueue.dead
     WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgqueue.dead WHERE queue = ANY ($1) LIMIT $2 FOR UPDATE SKIP LOCKED))
), archived AS (
    DELETE FROM pgqueue.archive
     WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgqueue.archive WHERE queue = ANY ($1) LIMIT $2 FOR UPDATE SKIP LOCKED))
), keys AS (
    DELETE FROM pgqueue.recent_key
     WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgqueue.recent_key WHERE queue = ANY ($1) LIMIT $2 FOR UPDATE SKIP LOCKED))
), slots AS (
    DELETE FROM pgqueue.slot
     WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgqueue.slot WHERE queue = ANY ($1) LIMIT $2 FOR UPDATE SKIP LOCKED))
), counts AS (
    DELETE FROM pgqueue.counter
     WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgqueue.counter WHERE queue = ANY ($1) LIMIT $2 FOR UPDATE SKIP LOCKED))
), privileges AS (
    DELETE FROM pgqueue.privilege
     WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgqueue.privilege WHERE queue = ANY ($1) LIMIT $2 FOR UPDATE SKIP LOCKED))
)
DELETE FROM pgqueue.dropped_queue d
 WHERE d.queue = ANY ($1) AND d.dropped_by < pg_snapshot_xmin(pg_current_snapshot())
   AND (d.dropped_by < $3::text::xid8 OR d.dropped_at < clock_timestamp() - interval '1 day')
   AND NOT EXISTS (SELECT FROM pgqueue.message m WHERE m.queue = d.queue AND m.lane = 'r')
   AND NOT EXISTS (SELECT FROM pgqueue.message m WHERE m.queue = d.queue AND m.lane = 'd')
   AND NOT EXISTS (SELECT FROM pgqueue.message m WHERE m.queue = d.queue AND m.group_key IS NOT NULL)
   AND NOT EXISTS (SELECT FROM pgqueue.dead r WHERE r.queue = d.queue)
   AND NOT EXISTS (SELECT FROM pgqueue.archive r WHERE r.queue = d.queue)
   AND NOT EXISTS (SELECT FROM pgqueue.recent_key r WHERE r.queue = d.queue)
   AND NOT EXISTS (SELECT FROM pgqueue.slot r WHERE r.queue = d.queue)
   AND NOT EXISTS (SELECT FROM pgqueue.counter r WHERE r.queue = d.queue)
   AND NOT EXISTS (SELECT FROM pgqueue.privilege r WHERE r.queue = d.queue)
   AND NOT EXISTS (SELECT FROM pgqueue.begun_queue r WHERE r.queue = d.queue)
