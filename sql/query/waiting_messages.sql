-- Those of the messages that wait to be delivered, and whether a newer one with its key has
-- superseded each: one that has not outlived its time to live (engine/unique.rs).
SELECT m.id,
       coalesce(m.key_place = m.id, false)
       AND EXISTS (SELECT FROM pgqueue.message newer
                    WHERE newer.queue = m.queue AND newer.dedup_key = m.dedup_key AND newer.id > m.id
                      AND (newer.expires_at IS NULL
                           OR greatest(newer.expires_at, newer.lease_until) > clock_timestamp()))
  FROM pgqueue.message_state m
 WHERE m.id = ANY ($1) AND m.state IN ('ready', 'delayed', 'blocked')
