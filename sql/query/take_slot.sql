-- Changes what a slot holds, unless somebody else has done so or is about to.
WITH free AS (
    SELECT queue, number FROM pgqueue.slot
     WHERE queue = $1 AND number = $2 AND message = $3 AND delivery = $4
       FOR UPDATE SKIP LOCKED
)
UPDATE pgqueue.slot s SET message = $5, delivery = $6
  FROM free
 WHERE (s.queue, s.number) = (free.queue, free.number)
