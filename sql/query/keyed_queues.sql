-- Up to $2 queues after $1 that have noted keys. The recursion hops along the index.
WITH RECURSIVE keyed AS (
    (SELECT queue FROM pgqueue.recent_key WHERE queue > $1 ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT k.queue FROM pgqueue.recent_key k WHERE k.queue > b.queue ORDER BY k.queue LIMIT 1)
      FROM keyed b
     WHERE b.queue IS NOT NULL
)
SELECT queue FROM keyed WHERE queue IS NOT NULL LIMIT $2
