-- A row a queue. The first columns are for the check of rights and tell whether states
-- were counted ($2, or few messages) or are those of the counters. `total` is what lies in
-- the tables: messages in every state and dead letters.
WITH counted AS MATERIALIZED (
    SELECT queue, sum(pushed)::bigint AS pushed, sum(delivered)::bigint AS delivered,
           sum(deleted)::bigint AS deleted, sum(retried)::bigint AS retried,
           sum(died)::bigint AS died, sum(expired)::bigint AS expired,
           greatest(sum(ready), 0)::bigint AS ready, greatest(sum(leased), 0)::bigint AS leased,
           greatest(sum(delayed), 0)::bigint AS delayed, greatest(sum(blocked), 0)::bigint AS blocked,
           greatest(sum(dead), 0)::bigint AS dead
      FROM (TABLE pgqueue.counter UNION ALL SELECT * FROM pgqueue.pending_counts()) counts
     GROUP BY queue
), queue AS (
    SELECT q.*, counted.*, coalesce(counted.ready + counted.delayed + counted.blocked, 0) AS messages,
           $2 OR coalesce(counted.ready + counted.delayed + counted.blocked <= $3, true) AS is_exact
      FROM pgqueue.queue q
      LEFT JOIN counted ON counted.queue = q.id
     WHERE $1 IS NULL OR q.name = $1
)
SELECT q.owner::text, q.id, q.is_exact, q.name,
       coalesce(live.ready, greatest(q.ready - q.leased, 0), 0), coalesce(live.delayed, q.delayed, 0),
       coalesce(live.leased, q.leased, 0), coalesce(live.blocked, q.blocked, 0),
       coalesce(letters.dead, q.dead, 0),
       coalesce(live.messages, q.messages) + coalesce(letters.dead, q.dead, 0),
       CASE WHEN live.oldest_ready IS NOT NULL
            THEN greatest(clock_timestamp() - live.oldest_ready, '0') END AS oldest_ready_age,
       coalesce(q.pushed, 0), coalesce(q.delivered, 0), coalesce(q.deleted, 0),
       coalesce(q.retried, 0), coalesce(q.died, 0), coalesce(q.expired, 0)
  FROM queue q
  LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE state = 'ready')   AS ready,
                            count(*) FILTER (WHERE state = 'delayed') AS delayed,
                            count(*) FILTER (WHERE state = 'leased')  AS leased,
                            count(*) FILTER (WHERE state = 'blocked') AS blocked,
                            count(*)                                  AS messages,
                            min(coalesce(due_at, enqueued_at)) FILTER (WHERE state = 'ready') AS oldest_ready
                       FROM pgqueue.message_state m WHERE m.queue = q.id) live ON q.is_exact
  LEFT JOIN LATERAL (SELECT count(*) AS dead FROM pgqueue.dead d WHERE d.queue = q.id) letters ON $2
 ORDER BY q.name
