-- Difference, by lane, between the messages of a queue and its written counters.
WITH exact AS (
    SELECT count(*) FILTER (WHERE lane = 'r') AS ready,
           count(*) FILTER (WHERE lease_until > '-infinity') AS leased,
           count(*) FILTER (WHERE lane = 'd') AS delayed,
           count(*) FILTER (WHERE lane = 'b') AS blocked,
           (SELECT count(*) FROM pgqueue.dead WHERE queue = $1) AS dead
      FROM pgqueue.message
     WHERE queue = $1
), known AS (
    SELECT coalesce(sum(ready), 0)::bigint AS ready, coalesce(sum(leased), 0)::bigint AS leased,
           coalesce(sum(delayed), 0)::bigint AS delayed, coalesce(sum(blocked), 0)::bigint AS blocked,
           coalesce(sum(dead), 0)::bigint AS dead
      FROM pgqueue.counter
     WHERE queue = $1
)
SELECT exact.ready - known.ready, exact.leased - known.leased, exact.delayed - known.delayed,
       exact.blocked - known.blocked, exact.dead - known.dead
  FROM exact, known
