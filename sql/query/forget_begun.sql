-- Removes up to $1 notes of begun queues that are there, or were dropped.
DELETE FROM pgqueue.begun_queue
 WHERE ctid = ANY (ARRAY(
       SELECT b.ctid FROM pgqueue.begun_queue b
        WHERE EXISTS (SELECT FROM pgqueue.queue q WHERE q.id = b.queue)
           OR EXISTS (SELECT FROM pgqueue.dropped_queue d WHERE d.queue = b.queue)
        LIMIT $1 FOR UPDATE SKIP LOCKED))
