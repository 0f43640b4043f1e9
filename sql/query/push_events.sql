-- Pushes events about messages of the queue named $2 into the queue $1: retries, or deaths, which have a
-- reason and no retry time.
INSERT INTO pgqueue.message (queue, payload, expires_at)
SELECT $1,
       jsonb_build_object('event', CASE WHEN $6 IS NULL THEN 'retry' ELSE 'dead' END, 'queue', $2,
                          'id', event.id, 'delivery', event.delivery,
                          'reason', $6, 'error', $7, 'retry_at', event.retry_at),
       $8
  FROM unnest($3, $4, $5) WITH ORDINALITY AS event (id, delivery, retry_at, n)
 ORDER BY n
