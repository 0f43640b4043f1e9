-- Returns those of the messages $2 that need work: s another message of its key supersedes it; b no message
-- of its group is before it, echoes aside. (With EXISTS the planner would rather find all superseded messages.)
SELECT m.id, closer.need, m.key_place
  FROM pgqueue.message m
  JOIN pgqueue.queue q ON q.id = m.queue,
       LATERAL (SELECT CASE WHEN m.key_place > 0
                                 AND (SELECT true FROM pgqueue.superseded s WHERE s.id = m.id LIMIT 1) THEN 's'
                            WHEN m.lane = 'b' AND (q.settings ->> 'groups' = 'parallel' OR NOT EXISTS
                                     (SELECT FROM pgqueue.message first
                                       WHERE first.queue = m.queue AND first.group_key = m.group_key
                                         AND (first.key_place >= 0 OR first.key_place IS NULL)
                                         AND (first.in_turn OR (first.priority, first.id) < (m.priority, m.id)))) THEN 'b'
                       END::"char" AS need) closer
 WHERE m.id = ANY ($2) AND m.lease_until <= $1 AND (m.expires_at > $1 OR m.expires_at IS NULL)
   AND closer.need IS NOT NULL
