-- Written counters of a queue.
SELECT coalesce(sum(ready), 0)::bigint, coalesce(sum(leased), 0)::bigint,
       coalesce(sum(delayed), 0)::bigint, coalesce(sum(blocked), 0)::bigint
  FROM (SELECT * FROM pgqueue.counter WHERE queue = $1
        UNION ALL
        SELECT * FROM pgqueue.pending_counts() pending WHERE pending.queue = $1) counts
