-- A row a queue. The first column is for the check of rights. `total` is what lies in
-- the tables: messages in every state and dead letters.
SELECT q.owner::text, q.name,
       live.ready, live.delayed, live.leased, live.blocked, dead.letters, live.messages + dead.letters,
       CASE WHEN live.oldest_ready IS NOT NULL
            THEN greatest(clock_timestamp() - live.oldest_ready, '0') END AS oldest_ready_age,
       happened.pushed, happened.delivered, happened.deleted, happened.retried, happened.died, happened.expired
  FROM pgqueue.queue q,
       LATERAL (SELECT count(*) FILTER (WHERE state = 'ready')   AS ready,
                       count(*) FILTER (WHERE state = 'delayed') AS delayed,
                       count(*) FILTER (WHERE state = 'leased')  AS leased,
                       count(*) FILTER (WHERE state = 'blocked') AS blocked,
                       count(*)                                  AS messages,
                       min(coalesce(due_at, enqueued_at)) FILTER (WHERE state = 'ready') AS oldest_ready
                  FROM pgqueue.message_state m WHERE m.queue = q.id) live,
       LATERAL (SELECT count(*) AS letters FROM pgqueue.dead d WHERE d.queue = q.id) dead,
       LATERAL (SELECT coalesce(sum(pushed), 0)::bigint AS pushed, coalesce(sum(delivered), 0)::bigint AS delivered,
                       coalesce(sum(deleted), 0)::bigint AS deleted, coalesce(sum(retried), 0)::bigint AS retried,
                       coalesce(sum(died), 0)::bigint AS died, coalesce(sum(expired), 0)::bigint AS expired
                  FROM pgqueue.counter c WHERE c.queue = q.id) happened
 WHERE $1 IS NULL OR q.name = $1
 ORDER BY q.name
