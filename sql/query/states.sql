-- Counts of a scan of all messages of each queue in $1, and of up to $2 of its dead letters (null: all). `total`
-- is the number of messages in every state.
SELECT q.id, counted.ready, counted.delayed, counted.leased, counted.blocked,
       (SELECT count(*) FROM (SELECT FROM pgqueue.dead WHERE queue = q.id LIMIT $2) letters),
       counted.total, counted.oldest
  FROM unnest($1) AS q (id),
       LATERAL (SELECT count(*) FILTER (WHERE state = 'ready') AS ready,
                       count(*) FILTER (WHERE state = 'delayed') AS delayed,
                       count(*) FILTER (WHERE state = 'leased') AS leased,
                       count(*) FILTER (WHERE state = 'blocked') AS blocked,
                       count(*) AS total,
                       min(coalesce(due_at, enqueued_at)) FILTER (WHERE state = 'ready') AS oldest
                  FROM (SELECT state, due_at, enqueued_at FROM pgqueue.message_state
                         WHERE queue = q.id AND lane = 'r'
                        UNION ALL
                        SELECT state, due_at, enqueued_at FROM pgqueue.message_state
                         WHERE queue = q.id AND lane = 'd'
                        UNION ALL
                        SELECT state, due_at, enqueued_at FROM pgqueue.message_state
                         WHERE queue = q.id AND lane = 'b' AND group_key IS NOT NULL) m) counted
