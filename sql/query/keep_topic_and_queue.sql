-- Keeps the topic $1 and the queue $2 from being dropped until the transaction ends. No row: one of them is gone.
SELECT true
  FROM pgqueue.topic t, pgqueue.queue q
 WHERE t.id = $1 AND q.id = $2
   FOR KEY SHARE
