-- Scans the next messages by id, from where the last round stopped: those with the next $4 ids, at most $3.
-- Returns the first $2 that need work: r the lease expired; t the lease expired and no delivery is left;
-- f no delivery is left; o its queue was dropped. Further those that have to be looked at more closely
-- (sweep_closely.sql): c. Last, how many were scanned: n. Expired messages are left out: sweep_ttl.sql deals
-- with them, whatever else they need.
WITH place AS (
    SELECT swept_to FROM pgqueue.vacuum_run
), looked_at AS MATERIALIZED (
    SELECT m.id, m.queue, m.lease_until, m.expires_at, m.deliveries - coalesce(m.given_back, 0) AS attempts, m.max_deliveries, m.lane, m.key_place
      FROM pgqueue.message m
     WHERE m.id > (SELECT swept_to FROM place) AND m.id <= (SELECT swept_to FROM place) + $4
     ORDER BY m.id
     LIMIT $3
), found AS MATERIALIZED (
    SELECT m.id, m.queue,
           CASE WHEN q.id IS NULL THEN (SELECT 'o' FROM pgqueue.dropped_queue d WHERE d.queue = m.queue)
                WHEN m.lease_until > '-infinity'
                     AND (limits.exhausted OR q.settings ->> 'on_timeout' = 'dead') THEN 't'
                WHEN limits.exhausted THEN 'f'
                WHEN m.lease_until > '-infinity' THEN 'r'
           END::"char" AS need,
           q.id IS NOT NULL AND NOT limits.exhausted AND (m.key_place > 0 OR m.lane = 'b')
               AND (m.lease_until = '-infinity' OR q.settings ->> 'on_timeout' IS DISTINCT FROM 'dead') AS is_close
      FROM looked_at m
      LEFT JOIN pgqueue.queue q ON q.id = m.queue,
           LATERAL (SELECT coalesce(m.max_deliveries, (q.settings ->> 'max_deliveries')::integer,
                                    current_setting('pgqueue.max_deliveries')::integer) AS most) most,
           LATERAL (SELECT most > 0 AND m.attempts >= most AS exhausted) limits
     WHERE m.lease_until <= $1 AND (m.expires_at > $1 OR m.expires_at IS NULL OR q.id IS NULL)
), page AS MATERIALIZED (
    SELECT id, need, queue FROM found WHERE need IS NOT NULL ORDER BY id LIMIT $2
), next AS MATERIALIZED (
    -- Full page: go on behind it. End of the table: begin again.
    SELECT CASE WHEN (SELECT count(*) FROM page) >= $2 THEN (SELECT max(id) FROM page)
                WHEN (SELECT count(*) FROM looked_at) >= $3 THEN (SELECT max(id) FROM looked_at)
                WHEN (SELECT swept_to FROM place) + $4 < (SELECT last_value FROM pgqueue.message_id)
                    THEN (SELECT swept_to FROM place) + $4
                ELSE 0 END AS place
), moved AS (
    -- If another round, by hand, has not committed yet, it sets the position.
    UPDATE pgqueue.vacuum_run SET swept_to = (SELECT place FROM next)
     WHERE only_row = (SELECT only_row FROM pgqueue.vacuum_run FOR UPDATE SKIP LOCKED)
       AND swept_to <> (SELECT place FROM next)
)
SELECT id, need, queue FROM page
UNION ALL
SELECT id, 'c', queue FROM found WHERE is_close AND ((SELECT place FROM next) = 0 OR id <= (SELECT place FROM next))
UNION ALL
SELECT count(*), 'n', 0 FROM looked_at
