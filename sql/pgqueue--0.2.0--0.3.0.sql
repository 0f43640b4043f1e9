-- 0.2.0 to 0.3.0.

-- Deliveries that consumers give back. Attempts are the others.
SET LOCAL search_path TO pg_catalog, pg_temp;
ALTER TABLE pgqueue.message ADD COLUMN given_back integer;
COMMENT ON COLUMN pgqueue.message.given_back
    IS 'how many deliveries consumers have given back; without those, deliveries are attempts';
COMMENT ON COLUMN pgqueue.message.max_deliveries IS 'attempts before the message is dead; 0: no limit; null: as the queue says';
ALTER TABLE pgqueue.dead ADD COLUMN given_back integer;
ALTER TABLE pgqueue.archive ADD COLUMN given_back integer;
CREATE OR REPLACE VIEW pgqueue.message_state AS
SELECT m.id, m.enqueued_at, m.lease_until, m.deliveries, m.queue, m.priority, m.lane, m.in_turn, m.due_at, m.expires_at,
       m.lease_ms, m.max_deliveries, m.key_place, m.group_key, m.dedup_key, m.payload, m.body, m.headers, m.errors,
       CASE WHEN m.lease_until > clock_timestamp() THEN 'leased'
            WHEN m.expires_at <= clock_timestamp() THEN 'gone'
            WHEN attempts >= limits.deliveries AND limits.deliveries > 0 THEN 'gone'
            WHEN m.lease_until > '-infinity' AND q.settings ->> 'on_timeout' = 'dead' THEN 'gone'
            WHEN m.lane = 'b' THEN 'blocked'
            WHEN m.due_at > clock_timestamp() THEN 'delayed'
            WHEN m.group_key IS NOT NULL AND NOT m.in_turn
                 AND q.settings ->> 'groups' IS DISTINCT FROM 'parallel'
                 AND EXISTS (SELECT FROM pgqueue.message first
                              WHERE first.queue = m.queue AND first.group_key = m.group_key
                                AND (first.in_turn OR (first.priority, first.id) < (m.priority, m.id))
                                AND (first.expires_at > clock_timestamp() OR first.lease_until > clock_timestamp()
                                     OR first.expires_at IS NULL)) THEN 'blocked'
            ELSE 'ready'
       END AS state,
       attempts
  FROM pgqueue.message m
  JOIN pgqueue.queue q ON q.id = m.queue,
       LATERAL (SELECT m.deliveries - coalesce(m.given_back, 0) AS attempts) made,
       LATERAL (SELECT coalesce(m.max_deliveries,
                                (q.settings ->> 'max_deliveries')::integer,
                                current_setting('pgqueue.max_deliveries')::integer) AS deliveries) limits;
ALTER TYPE @extschema@.pgq_message_details ADD ATTRIBUTE attempts integer;
SET LOCAL search_path TO @extschema@, pg_temp;
