-- Up to $2 queues after $1 that have archived messages. The recursion hops along the index.
WITH RECURSIVE archived AS (
    (SELECT queue FROM pgqueue.archive WHERE queue > $1 ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT a.queue FROM pgqueue.archive a WHERE a.queue > b.queue ORDER BY a.queue LIMIT 1)
      FROM archived b
     WHERE b.queue IS NOT NULL
)
SELECT queue FROM archived WHERE queue IS NOT NULL LIMIT $2
