-- The tables. They lie in the schema pgqueue whatever schema the functions are in,
-- belong to the owner of the extension and are readable by nobody else.

-- Expressions mean what pg_catalog says, whatever others have put into the schema that the
-- extension goes to.
SET LOCAL search_path TO pg_catalog, pg_temp;

CREATE SCHEMA pgqueue;
REVOKE ALL ON SCHEMA pgqueue FROM PUBLIC;
COMMENT ON SCHEMA pgqueue IS 'tables of the pgqueue extension; use the pgq_ functions instead';

CREATE SEQUENCE pgqueue.queue_id AS integer;
COMMENT ON SEQUENCE pgqueue.queue_id IS 'numbers of queues, never used twice';

CREATE TABLE pgqueue.queue (
    id         integer     NOT NULL DEFAULT nextval('pgqueue.queue_id'),
    name       text        NOT NULL COLLATE "C",
    owner      name,
    settings   jsonb       NOT NULL DEFAULT '{}',
    paused     boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    owner_id   oid,
    CONSTRAINT queue_id_is_unique PRIMARY KEY (id),
    CONSTRAINT queue_name_is_unique UNIQUE (name)
) USING heap;
CREATE INDEX queue_retains ON pgqueue.queue (id) WHERE settings ? 'dead_retention';
CREATE INDEX queue_notifies ON pgqueue.queue (id) WHERE settings ->> 'notify' <> 'false';
ALTER SEQUENCE pgqueue.queue_id OWNED BY pgqueue.queue.id;
COMMENT ON TABLE pgqueue.queue IS 'one row a queue';
COMMENT ON COLUMN pgqueue.queue.owner IS 'role whose members may do everything with the queue; null: it is gone';
COMMENT ON COLUMN pgqueue.queue.owner_id IS 'number of that role (rights.sql); null: no role has this name';
COMMENT ON COLUMN pgqueue.queue.settings IS 'what the queue sets itself; the rest comes from the server settings';

CREATE FUNCTION pgqueue.forget_queues() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'forget_queues';
REVOKE ALL ON FUNCTION pgqueue.forget_queues() FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.forget_queues()
    IS 'makes every session read a queue anew at its next call; argument: the column of its number. Without rows: all queues';

CREATE TRIGGER forget_queue
    AFTER INSERT OR UPDATE OR DELETE ON pgqueue.queue
    FOR EACH ROW EXECUTE FUNCTION pgqueue.forget_queues('id');
ALTER TABLE pgqueue.queue ENABLE ALWAYS TRIGGER forget_queue;
CREATE TRIGGER forget_queues
    AFTER TRUNCATE ON pgqueue.queue
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.forget_queues();
ALTER TABLE pgqueue.queue ENABLE ALWAYS TRIGGER forget_queues;

CREATE TABLE pgqueue.dropped_queue (
    queue      integer     NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    dropped_by xid8        NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT dropped_queue_is_unique PRIMARY KEY (queue)
) USING heap;
COMMENT ON TABLE pgqueue.dropped_queue
    IS 'queues whose last messages may have yet to commit; of a queue that is just not there, as in the middle of a restore, nothing is cleared away';

CREATE TABLE pgqueue.begun_queue (
    queue    integer NOT NULL,
    name     text    NOT NULL COLLATE "C",
    owner    name,
    owner_id oid,
    grants   text
) USING heap;
CREATE INDEX begun_queue_by_name ON pgqueue.begun_queue (name);
CREATE INDEX begun_queue_by_number ON pgqueue.begun_queue (queue);
ALTER TABLE pgqueue.begun_queue REPLICA IDENTITY FULL; -- it has no key, and may be published
COMMENT ON TABLE pgqueue.begun_queue
    IS 'one row a transaction that has pushed to a queue which another open one was making: if that is rolled back, the queue is made as these rows say';
COMMENT ON COLUMN pgqueue.begun_queue.grants IS 'rights on it that the transaction has set for other roles (pgqueue.default_grants)';

CREATE SEQUENCE pgqueue.message_id;
COMMENT ON SEQUENCE pgqueue.message_id IS 'ids of messages, unique over all queues';

-- Live messages. The engine reads and writes this table by attribute number
-- (src/engine/message.rs): columns may be added at the end, never moved.
--
-- lease_until and deliveries stand together, fixed in width, before everything
-- that varies, and in no index: taking a lease is a HOT update of a few bytes.
CREATE TABLE pgqueue.message (
    id             bigint      NOT NULL DEFAULT nextval('pgqueue.message_id'),
    enqueued_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until    timestamptz NOT NULL DEFAULT '-infinity',
    deliveries     integer     NOT NULL DEFAULT 0,
    queue          integer     NOT NULL,
    priority       smallint    NOT NULL DEFAULT 0,
    lane           "char"      NOT NULL DEFAULT 'r',
    in_turn        boolean     NOT NULL DEFAULT false,
    due_at         timestamptz,
    expires_at     timestamptz,
    lease_ms       bigint,
    max_deliveries integer,
    key_place      bigint,
    group_key      text COLLATE "C",
    dedup_key      text COLLATE "C",
    payload        jsonb,
    body           bytea,
    headers        jsonb,
    errors         jsonb,
    key_floor      bigint,
    given_back     integer,
    CONSTRAINT message_id_is_unique PRIMARY KEY (id),
    CONSTRAINT message_lane_is_known CHECK (lane IN ('r', 'd', 'b')),
    CONSTRAINT message_delayed_has_due_time CHECK ((lane = 'd') = (due_at IS NOT NULL)),
    CONSTRAINT message_key_has_place CHECK (dedup_key IS NULL OR key_place IS NOT NULL),
    CONSTRAINT message_has_payload_or_body CHECK (num_nonnulls(payload, body) = 1)
) USING heap WITH (
    -- Half of each page is left for leases: then none of them needs index entries, however
    -- many messages of a page are leased before it is pruned (batches: 30 % less WAL).
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0.2,
    autovacuum_vacuum_cost_delay = 0
);
ALTER SEQUENCE pgqueue.message_id OWNED BY pgqueue.message.id;
CREATE INDEX message_ready ON pgqueue.message (queue, priority, id) WHERE lane = 'r';
CREATE INDEX message_due ON pgqueue.message (queue, due_at, id) WHERE lane = 'd';
CREATE INDEX message_expires ON pgqueue.message (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX message_group ON pgqueue.message (queue, group_key, in_turn DESC, priority, id) WHERE group_key IS NOT NULL;
CREATE INDEX message_key ON pgqueue.message (queue, dedup_key, id) WHERE dedup_key IS NOT NULL;
COMMENT ON TABLE pgqueue.message IS 'one row a live message';
COMMENT ON COLUMN pgqueue.message.lease_until IS 'end of the lease; in the past: nobody holds the message';
COMMENT ON COLUMN pgqueue.message.deliveries IS 'how often the message was leased; with the id, the receipt';
COMMENT ON COLUMN pgqueue.message.lane IS 'r ready or leased, d waiting for due_at, b behind another of its group';
COMMENT ON COLUMN pgqueue.message.in_turn IS 'it is its group''s turn until it is gone: it was leased once';
COMMENT ON COLUMN pgqueue.message.key_place IS 'not above 0: not delivered as it is now, below 0: pushed while an older message of its key was not delivered either (-2: with content that replaces that one''s, -3: its producer knows it by its own id); above 0: a number that rises with each lease of a message of its key';
COMMENT ON COLUMN pgqueue.message.lease_ms IS 'length of a lease in milliseconds; null: as the queue says';
COMMENT ON COLUMN pgqueue.message.max_deliveries IS 'attempts before the message is dead; 0: no limit; null: as the queue says';
COMMENT ON COLUMN pgqueue.message.errors IS 'the last failures, oldest first: [{"at", "delivery", "error"}]';
COMMENT ON COLUMN pgqueue.message.key_floor IS 'of the messages of its key those with smaller ids were gone when it was pushed';
COMMENT ON COLUMN pgqueue.message.given_back
    IS 'how many deliveries consumers have given back; without those, deliveries are attempts';

CREATE FUNCTION pgqueue.announce_message() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'announce_message';
REVOKE ALL ON FUNCTION pgqueue.announce_message() FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.announce_message() IS 'counts messages that a statement has written and tells consumers of them';

CREATE TRIGGER announce_message
    AFTER INSERT OR UPDATE ON pgqueue.message
    FOR EACH ROW EXECUTE FUNCTION pgqueue.announce_message();
ALTER TABLE pgqueue.message ENABLE ALWAYS TRIGGER announce_message;

CREATE FUNCTION pgqueue.announce_removal() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'announce_removal';
REVOKE ALL ON FUNCTION pgqueue.announce_removal() FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.announce_removal() IS 'counts messages that a statement has removed; the next of their groups get their turn';

CREATE TRIGGER announce_removal
    AFTER DELETE ON pgqueue.message REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.announce_removal();
ALTER TABLE pgqueue.message ENABLE ALWAYS TRIGGER announce_removal;

CREATE FUNCTION pgqueue.refuse_truncate() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'refuse_truncate';
REVOKE ALL ON FUNCTION pgqueue.refuse_truncate() FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.refuse_truncate()
    IS 'raises: a TRUNCATE does not say which messages go, so they would stay counted, and their limits used up';

CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.message
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.refuse_truncate();
ALTER TABLE pgqueue.message ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TABLE pgqueue.recent_key (
    queue     integer     NOT NULL,
    dedup_key text        NOT NULL COLLATE "C",
    id        bigint      NOT NULL,
    seen_at   timestamptz NOT NULL,
    CONSTRAINT recent_key_is_unique PRIMARY KEY (queue, dedup_key)
);
CREATE INDEX recent_key_oldest ON pgqueue.recent_key (queue, seen_at);
COMMENT ON TABLE pgqueue.recent_key IS 'keys pushed lately to queues with a dedup_window';
COMMENT ON COLUMN pgqueue.recent_key.id IS 'the message that was pushed with the key';

CREATE TABLE pgqueue.slot (
    queue    integer NOT NULL,
    number   integer NOT NULL,
    message  bigint  NOT NULL,
    delivery integer NOT NULL,
    writer   bigint  NOT NULL DEFAULT 0,
    CONSTRAINT slot_is_unique PRIMARY KEY (queue, number)
) USING heap WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE pgqueue.slot
    IS 'as many rows a queue as its max_leased says; each holds the receipt of a lease and the transaction that wrote it there, in place, whatever became of it. Number 0: where they were laid out; negative: beyond a limit that was lowered';

CREATE TABLE pgqueue.dead (
    id             bigint      NOT NULL,
    enqueued_at    timestamptz NOT NULL,
    died_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    deliveries     integer     NOT NULL,
    queue          integer     NOT NULL,
    priority       smallint    NOT NULL,
    reason         text        NOT NULL,
    lease_ms       bigint,
    max_deliveries integer,
    group_key      text COLLATE "C",
    payload        jsonb,
    body           bytea,
    headers        jsonb,
    errors         jsonb,
    given_back     integer,
    CONSTRAINT dead_id_is_unique PRIMARY KEY (id),
    CONSTRAINT dead_reason_is_known CHECK (reason IN ('failed', 'timeout', 'buried', 'expired'))
);
CREATE INDEX dead_oldest ON pgqueue.dead (queue, died_at, id);
COMMENT ON TABLE pgqueue.dead IS 'one row a dead letter';

CREATE FUNCTION pgqueue.count_letter() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'count_letter';
REVOKE ALL ON FUNCTION pgqueue.count_letter() FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.count_letter() IS 'counts dead letters';

CREATE TRIGGER count_letter
    AFTER INSERT OR DELETE ON pgqueue.dead
    FOR EACH ROW EXECUTE FUNCTION pgqueue.count_letter();
ALTER TABLE pgqueue.dead ENABLE ALWAYS TRIGGER count_letter;

CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.dead
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.refuse_truncate();
ALTER TABLE pgqueue.dead ENABLE ALWAYS TRIGGER refuse_truncate;

-- The engine adds rows by attribute number (src/engine/archive.rs): columns may be added
-- at the end, never moved.
CREATE TABLE pgqueue.archive (
    id          bigint      NOT NULL,
    enqueued_at timestamptz NOT NULL,
    settled_at  timestamptz NOT NULL,
    deliveries  integer     NOT NULL,
    queue       integer     NOT NULL,
    priority    smallint    NOT NULL,
    group_key   text COLLATE "C",
    payload     jsonb,
    body        bytea,
    headers     jsonb,
    errors      jsonb,
    given_back  integer,
    CONSTRAINT archive_id_is_unique PRIMARY KEY (id)
) USING heap;
CREATE INDEX archive_oldest ON pgqueue.archive (queue, settled_at, id);
COMMENT ON TABLE pgqueue.archive IS 'one row a message that was settled, for as long as its queue keeps them';

-- Counters are summed rows: nobody waits for anybody's, and the worker folds them. What
-- transactions have counted lately is in shared memory (pgqueue.pending_counts), where
-- there is some.
CREATE TABLE pgqueue.counter (
    queue     integer NOT NULL,
    pushed    bigint  NOT NULL DEFAULT 0,
    delivered bigint  NOT NULL DEFAULT 0,
    deleted   bigint  NOT NULL DEFAULT 0,
    retried   bigint  NOT NULL DEFAULT 0,
    died      bigint  NOT NULL DEFAULT 0,
    expired   bigint  NOT NULL DEFAULT 0,
    ready     bigint  NOT NULL DEFAULT 0,
    leased    bigint  NOT NULL DEFAULT 0,
    delayed   bigint  NOT NULL DEFAULT 0,
    blocked   bigint  NOT NULL DEFAULT 0,
    dead      bigint  NOT NULL DEFAULT 0,
    here      boolean NOT NULL DEFAULT false
) USING heap WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
ALTER TABLE pgqueue.counter REPLICA IDENTITY FULL; -- it has no key, and may be published
CREATE INDEX counter_by_queue ON pgqueue.counter (queue);
COMMENT ON TABLE pgqueue.counter
    IS 'what happened to messages since their queue was made, and where they are: the sum over a queue''s rows';
COMMENT ON COLUMN pgqueue.counter.here IS 'the row says how many messages are where, and nothing else; it is not dumped';
COMMENT ON COLUMN pgqueue.counter.ready IS 'messages in the ready lane, leased or not';
COMMENT ON COLUMN pgqueue.counter.leased IS 'of those, the ones whose lease nobody has seen end';

CREATE FUNCTION pgqueue.pending_counts() RETURNS SETOF pgqueue.counter
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'pending_counts';
REVOKE ALL ON FUNCTION pgqueue.pending_counts() FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.pending_counts() IS 'what was counted and not written to pgqueue.counter yet';

CREATE TABLE pgqueue.vacuum_run (
    only_row       boolean NOT NULL DEFAULT true,
    last_run       timestamptz,
    page_size      integer,
    leases_expired bigint NOT NULL DEFAULT 0,
    moved_to_dead  bigint NOT NULL DEFAULT 0,
    dropped        bigint NOT NULL DEFAULT 0,
    ttl_dropped    bigint NOT NULL DEFAULT 0,
    dead_dropped   bigint NOT NULL DEFAULT 0,
    archive_dropped bigint NOT NULL DEFAULT 0,
    errors         jsonb  NOT NULL DEFAULT '{}',
    swept_to       bigint NOT NULL DEFAULT 0,
    CONSTRAINT vacuum_run_has_one_row PRIMARY KEY (only_row),
    CONSTRAINT vacuum_run_row_is_true CHECK (only_row)
);
INSERT INTO pgqueue.vacuum_run DEFAULT VALUES;
COMMENT ON TABLE pgqueue.vacuum_run IS 'what the last maintenance round did';
COMMENT ON COLUMN pgqueue.vacuum_run.swept_to IS 'id up to which leases were looked at; the next round goes on from here';

-- A message that was delivered and that another of its key stands for now: a newer one that waits,
-- or one that was leased later (engine/unique.rs).
CREATE VIEW pgqueue.superseded AS
SELECT m.id
  FROM pgqueue.message m
  JOIN pgqueue.queue q ON q.id = m.queue
 WHERE m.dedup_key IS NOT NULL AND m.key_place > 0 AND m.lease_until <= clock_timestamp()
   AND EXISTS (SELECT FROM pgqueue.message other
                WHERE other.queue = m.queue AND other.dedup_key = m.dedup_key AND other.id <> m.id
                  AND (other.expires_at IS NULL OR greatest(other.expires_at, other.lease_until) > clock_timestamp())
                  AND CASE WHEN other.lease_until > clock_timestamp()
                             OR other.lease_until > '-infinity' AND q.settings ->> 'on_timeout' = 'dead'
                             OR other.deliveries - coalesce(other.given_back, 0)
                                >= nullif(coalesce(other.max_deliveries, (q.settings ->> 'max_deliveries')::integer,
                                                   current_setting('pgqueue.max_deliveries')::integer), 0)
                           THEN other.key_place > m.key_place AND other.key_place < 9223372036854775807
                           ELSE other.id > m.id END);
COMMENT ON VIEW pgqueue.superseded IS 'live messages that will not be delivered again, as another of their key stands for them';

-- A message as its readers see it: `state` is what its columns mean at this moment.
-- 'gone' is what no call will deliver any more and the next round clears away.
CREATE VIEW pgqueue.message_state AS
SELECT m.*,
       CASE WHEN m.lease_until > clock_timestamp() THEN 'leased'
            WHEN m.expires_at <= clock_timestamp() THEN 'gone'
            WHEN attempts >= limits.deliveries AND limits.deliveries > 0 THEN 'gone'
            WHEN m.lease_until > '-infinity' AND q.settings ->> 'on_timeout' = 'dead' THEN 'gone'
            -- with EXISTS the planner would rather find all superseded messages
            WHEN m.key_place > 0 AND (SELECT true FROM pgqueue.superseded s WHERE s.id = m.id LIMIT 1) THEN 'gone'
            WHEN m.lane = 'b' THEN 'blocked'
            WHEN m.due_at > clock_timestamp() THEN 'delayed'
            WHEN m.key_place < 0
                 AND EXISTS (SELECT FROM pgqueue.message first
                              WHERE first.queue = m.queue AND first.dedup_key = m.dedup_key
                                AND first.id < m.id AND first.key_place <= 0
                                AND first.lease_until <= clock_timestamp()
                                AND (first.expires_at > clock_timestamp() OR first.expires_at IS NULL)) THEN 'blocked'
            WHEN m.group_key IS NOT NULL AND NOT m.in_turn
                 AND q.settings ->> 'groups' IS DISTINCT FROM 'parallel'
                 AND EXISTS (SELECT FROM pgqueue.message first
                              WHERE first.queue = m.queue AND first.group_key = m.group_key
                                AND (first.key_place >= 0 OR first.key_place IS NULL)
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
COMMENT ON VIEW pgqueue.message_state IS 'live messages with their state at this moment';

-- What pg_dump carries: all that users put in. The last round is not theirs.
SELECT pg_catalog.pg_extension_config_dump('pgqueue.queue', '');
SELECT pg_catalog.pg_extension_config_dump('pgqueue.begun_queue', '');
SELECT pg_catalog.pg_extension_config_dump('pgqueue.message', '');
SELECT pg_catalog.pg_extension_config_dump('pgqueue.recent_key', '');
-- Slots are laid out anew, from the leases.
SELECT pg_catalog.pg_extension_config_dump('pgqueue.slot', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('pgqueue.dead', '');
SELECT pg_catalog.pg_extension_config_dump('pgqueue.archive', '');
-- Who restores messages counts how many there are anew.
SELECT pg_catalog.pg_extension_config_dump('pgqueue.counter', 'WHERE NOT here');
SELECT pg_catalog.pg_extension_config_dump('pgqueue.queue_id', '');
SELECT pg_catalog.pg_extension_config_dump('pgqueue.message_id', '');

SET LOCAL search_path TO @extschema@, pg_temp;
