-- Difference, by lane, between the messages of each queue in $1 and its written counters.
SELECT q.id, ready.messages - known.ready, ready.leased + delayed.leased + blocked.leased - known.leased,
       delayed.messages - known.delayed, blocked.messages - known.blocked, dead.letters - known.dead
  FROM unnest($1) AS q (id),
       LATERAL (SELECT count(*) AS messages, count(*) FILTER (WHERE lease_until > '-infinity') AS leased
                  FROM pgqueue.message WHERE queue = q.id AND lane = 'r') ready,
       LATERAL (SELECT count(*) AS messages, count(*) FILTER (WHERE lease_until > '-infinity') AS leased
                  FROM pgqueue.message WHERE queue = q.id AND lane = 'd') delayed,
       LATERAL (SELECT count(*) AS messages, count(*) FILTER (WHERE lease_until > '-infinity') AS leased
                  FROM pgqueue.message WHERE queue = q.id AND lane = 'b' AND group_key IS NOT NULL) blocked,
       LATERAL (SELECT count(*) AS letters FROM pgqueue.dead WHERE queue = q.id) dead,
       LATERAL (SELECT coalesce(sum(c.ready), 0)::bigint AS ready, coalesce(sum(c.leased), 0)::bigint AS leased,
                       coalesce(sum(c.delayed), 0)::bigint AS delayed, coalesce(sum(c.blocked), 0)::bigint AS blocked,
                       coalesce(sum(c.dead), 0)::bigint AS dead
                  FROM pgqueue.counter c WHERE c.queue = q.id) known
