-- Sums of the written counters of each queue in $1, in the order of their columns.
SELECT q.id, sum(pushed)::bigint, sum(delivered)::bigint, sum(deleted)::bigint, sum(retried)::bigint,
       sum(died)::bigint, sum(expired)::bigint, sum(ready)::bigint, sum(leased)::bigint,
       sum(delayed)::bigint, sum(blocked)::bigint, sum(dead)::bigint
  FROM unnest($1) AS q (id)
  JOIN pgqueue.counter c ON c.queue = q.id
 GROUP BY q.id
