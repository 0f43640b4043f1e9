-- A row a queue. The first column is for the check of rights. `total` is what lies in
-- the tables: messages in every state and dead letters.
WITH counted AS MATERIALIZED (
    SELECT queue, sum(pushed)::bigint AS pushed, sum(delivered)::bigint AS delivered,
           sum(deleted)::bigint AS deleted, sum(retried)::bigint AS retried,
           sum(died)::bigint AS died, sum(expired)::bigint AS expired
      FROM (TABLE pgqueue.counter UNION ALL SELECT * FROM pgqueue.pending_counts()) counts
     GROUP BY queue
)
SELECT q.owner::text, q.name,
       live.ready, live.delayed, live.leased, live.blocked, dead.letters, live.messages + dead.letters,
       CASE WHEN live.oldest_ready IS NOT NULL
            THEN greatest(clock_timestamp() - live.oldest_ready, '0') END AS oldest_ready_age,
       coalesce(counted.pushed, 0), coalesce(counted.delivered, 0), coalesce(counted.deleted, 0),
       coalesce(counted.retried, 0), coalesce(counted.died, 0), coalesce(counted.expired, 0)
  FROM pgqueue.queue q
  LEFT JOIN counted ON counted.queue = q.id,
       LATERAL (SELECT count(*) FILTER (WHERE state = 'ready')   AS ready,
                       count(*) FILTER (WHERE state = 'delayed') AS delayed,
                       count(*) FILTER (WHERE state = 'leased')  AS leased,
                       count(*) FILTER (WHERE state = 'blocked') AS blocked,
                       count(*)                                  AS messages,
                       min(coalesce(due_at, enqueued_at)) FILTER (WHERE state = 'ready') AS oldest_ready
                  FROM pgqueue.message_state m WHERE m.queue = q.id) live,
       LATERAL (SELECT count(*) AS letters FROM pgqueue.dead d WHERE d.queue = q.id) dead
 WHERE $1 IS NULL OR q.name = $1
 ORDER BY q.name
