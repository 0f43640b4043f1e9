-- Looks at the next $2 messages that expire, from the position ($3, $4) on. Locks those that have expired and
-- are not leased, and returns them with their positions, in order. A null id stands for the last one that it has
-- looked at, which has the number of those looked at. The index returns messages that expire at the same time in
-- the order of the table. A condition that no index serves leaves the place as the only way to lock them.
WITH looked_at AS MATERIALIZED (
    SELECT m.ctid AS place, m.expires_at, m.lease_until, m.queue FROM pgqueue.message m
     WHERE m.expires_at <= $1 AND m.expires_at >= $3 AND (m.expires_at > $3 OR m.ctid > $4)
     ORDER BY m.expires_at
     LIMIT $2
), locked AS MATERIALIZED (
    SELECT m.id, m.expires_at, m.ctid AS place, m.queue FROM pgqueue.message m
     WHERE m.ctid = ANY (ARRAY(SELECT l.place FROM looked_at l
                                WHERE l.lease_until <= $1 AND EXISTS (SELECT FROM pgqueue.queue q WHERE q.id = l.queue)))
       AND coalesce(m.expires_at, 'infinity') <= $1 AND m.lease_until <= $1
       FOR UPDATE SKIP LOCKED
)
SELECT id, expires_at, place, NULL::bigint, queue FROM locked
UNION ALL
(SELECT NULL, expires_at, place, (SELECT count(*) FROM looked_at), NULL FROM looked_at ORDER BY expires_at DESC, place DESC LIMIT 1)
 ORDER BY 2, 3, 1 NULLS LAST
