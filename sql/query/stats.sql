-- Counters, a row a queue. The first columns are for the check of rights.
WITH counted AS MATERIALIZED (
    SELECT queue, sum(pushed)::bigint AS pushed, sum(delivered)::bigint AS delivered,
           sum(deleted)::bigint AS deleted, sum(retried)::bigint AS retried,
           sum(died)::bigint AS died, sum(expired)::bigint AS expired,
           greatest(sum(ready), 0)::bigint AS ready, greatest(sum(leased), 0)::bigint AS leased,
           greatest(sum(delayed), 0)::bigint AS delayed, greatest(sum(blocked), 0)::bigint AS blocked,
           greatest(sum(dead), 0)::bigint AS dead
      FROM (TABLE pgqueue.counter UNION ALL SELECT * FROM pgqueue.pending_counts()) counts
     GROUP BY queue
)
SELECT q.id, q.owner_id, q.has_grants, q.name,
       coalesce(greatest(c.ready - c.leased, 0), 0), coalesce(c.delayed, 0), coalesce(c.leased, 0),
       coalesce(c.blocked, 0), coalesce(c.dead, 0),
       coalesce(c.ready + c.delayed + c.blocked + c.dead, 0), NULL::interval,
       coalesce(c.pushed, 0), coalesce(c.delivered, 0), coalesce(c.deleted, 0),
       coalesce(c.retried, 0), coalesce(c.died, 0), coalesce(c.expired, 0)
  FROM pgqueue.queue_access q
  LEFT JOIN counted c ON c.queue = q.id
 WHERE $1 IS NULL OR q.name = $1
 ORDER BY q.name
