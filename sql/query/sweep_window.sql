-- Scans the next $3 messages by id, from where the last round stopped, and returns the first $2 that need
-- work: r the lease expired; t the lease expired and no delivery is left; f no delivery is left; s another
-- message of its key supersedes it; o its queue was dropped; b no message of its group is before it. Expired
-- messages are left out: sweep_ttl.sql deals with them, whatever else they need. (With EXISTS the planner
-- would rather find all superseded messages.)
WITH place AS (
    SELECT swept_to FROM pgqueue.vacuum_run
), looked_at AS MATERIALIZED (
    SELECT m.id, m.queue, m.lease_until, m.expires_at, m.deliveries - coalesce(m.given_back, 0) AS attempts, m.max_deliveries, m.lane, m.group_key, m.priority, m.key_place
      FROM pgqueue.message m
     WHERE m.id > (SELECT swept_to FROM place)
     ORDER BY m.id
     LIMIT $3
), found AS (
    SELECT m.id, m.key_place,
           CASE WHEN q.id IS NULL THEN (SELECT 'o' FROM pgqueue.dropped_queue d WHERE d.queue = m.queue)
                WHEN m.lease_until > '-infinity'
                     AND (limits.exhausted OR q.settings ->> 'on_timeout' = 'dead') THEN 't'
                WHEN m.key_place > 0 AND NOT limits.exhausted
                     AND (SELECT true FROM pgqueue.superseded s WHERE s.id = m.id LIMIT 1) THEN 's'
                WHEN m.lease_until > '-infinity' THEN 'r'
                WHEN limits.exhausted THEN 'f'
                WHEN m.lane = 'b' AND (q.settings ->> 'groups' = 'parallel' OR NOT EXISTS
                         (SELECT FROM pgqueue.message first
                           WHERE first.queue = m.queue AND first.group_key = m.group_key
                             AND (first.in_turn OR (first.priority, first.id) < (m.priority, m.id)))) THEN 'b'
           END::"char" AS need
      FROM looked_at m
      LEFT JOIN pgqueue.queue q ON q.id = m.queue,
           LATERAL (SELECT coalesce(m.max_deliveries, (q.settings ->> 'max_deliveries')::integer,
                                    current_setting('pgqueue.max_deliveries')::integer) AS most) most,
           LATERAL (SELECT most > 0 AND m.attempts >= most AS exhausted) limits
     WHERE m.lease_until <= $1 AND (m.expires_at > $1 OR m.expires_at IS NULL OR q.id IS NULL)
), page AS (
    SELECT id, need, key_place FROM found WHERE need IS NOT NULL ORDER BY id LIMIT $2
), moved AS (
    -- Full page: go on behind it. End of the table: begin again. If another round, by hand, has not committed
    -- yet, it sets the position.
    UPDATE pgqueue.vacuum_run
       SET swept_to = CASE WHEN (SELECT count(*) FROM page) >= $2 THEN (SELECT max(id) FROM page)
                           WHEN (SELECT count(*) FROM looked_at) >= $3 THEN (SELECT max(id) FROM looked_at)
                           ELSE 0 END
     WHERE only_row = (SELECT only_row FROM pgqueue.vacuum_run FOR UPDATE SKIP LOCKED)
       AND (swept_to > 0 OR EXISTS (SELECT FROM looked_at))
)
SELECT id, need, key_place FROM page ORDER BY id
