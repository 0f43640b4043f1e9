-- Counts of a scan of all messages of a queue. `total` is the number of rows: messages in every state and
-- dead letters.
SELECT count(*) FILTER (WHERE state = 'ready'), count(*) FILTER (WHERE state = 'delayed'),
       count(*) FILTER (WHERE state = 'leased'), count(*) FILTER (WHERE state = 'blocked'),
       dead.letters, count(m.id) + dead.letters,
       min(coalesce(due_at, enqueued_at)) FILTER (WHERE state = 'ready')
  FROM (SELECT count(*) AS letters FROM pgqueue.dead WHERE queue = $1) dead
  LEFT JOIN pgqueue.message_state m ON m.queue = $1
 GROUP BY dead.letters
