-- Deletes rows that transactions have left which were running when their queue was dropped, up to $1 rows of
-- a kind; sweep_window.sql finds their messages. Rows that another transaction has locked are skipped. A
-- dropped queue is forgotten after a day, once none of those transactions can be running.
WITH letters AS (
    DELETE FROM pgqueue.dead
     WHERE ctid = ANY (ARRAY(SELECT l.ctid FROM pgqueue.dropped_queue d JOIN pgqueue.dead l USING (queue) LIMIT $1 FOR UPDATE OF l SKIP LOCKED))
), archived AS (
    DELETE FROM pgqueue.archive
     WHERE ctid = ANY (ARRAY(SELECT a.ctid FROM pgqueue.dropped_queue d JOIN pgqueue.archive a USING (queue) LIMIT $1 FOR UPDATE OF a SKIP LOCKED))
), keys AS (
    DELETE FROM pgqueue.recent_key
     WHERE ctid = ANY (ARRAY(SELECT k.ctid FROM pgqueue.dropped_queue d JOIN pgqueue.recent_key k USING (queue) LIMIT $1 FOR UPDATE OF k SKIP LOCKED))
), slots AS (
    DELETE FROM pgqueue.slot
     WHERE ctid = ANY (ARRAY(SELECT s.ctid FROM pgqueue.dropped_queue d JOIN pgqueue.slot s USING (queue) LIMIT $1 FOR UPDATE OF s SKIP LOCKED))
), counts AS (
    DELETE FROM pgqueue.counter
     WHERE ctid = ANY (ARRAY(SELECT c.ctid FROM pgqueue.dropped_queue d JOIN pgqueue.counter c USING (queue) LIMIT $1 FOR UPDATE OF c SKIP LOCKED))
), privileges AS (
    DELETE FROM pgqueue.privilege
     WHERE ctid = ANY (ARRAY(SELECT p.ctid FROM pgqueue.dropped_queue d JOIN pgqueue.privilege p USING (queue) LIMIT $1 FOR UPDATE OF p SKIP LOCKED))
)
DELETE FROM pgqueue.dropped_queue
 WHERE dropped_at < clock_timestamp() - interval '1 day'
   AND dropped_by < pg_snapshot_xmin(pg_current_snapshot())
