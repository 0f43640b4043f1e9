-- Topics: a message that is published to one goes into each queue that is subscribed to it with a pattern
-- that its routing key matches.
--
-- Topics have numbers like queues, from the same sequence, so that rights on both are rows of one table and
-- changes of both travel alike.

SET LOCAL search_path TO pg_catalog, pg_temp; -- as in tables.sql

CREATE TABLE pgqueue.topic (
    id         integer     NOT NULL DEFAULT nextval('pgqueue.queue_id'),
    name       text        NOT NULL COLLATE "C",
    owner      name,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    owner_id   oid,
    CONSTRAINT topic_id_is_unique PRIMARY KEY (id),
    CONSTRAINT topic_name_is_unique UNIQUE (name)
) USING heap;
COMMENT ON TABLE pgqueue.topic IS 'one row a topic';
COMMENT ON COLUMN pgqueue.topic.id IS 'a number that no queue has';
COMMENT ON COLUMN pgqueue.topic.owner IS 'role whose members may do everything with the topic; null: it is gone';
COMMENT ON COLUMN pgqueue.topic.owner_id IS 'number of that role (rights.sql); null: no role has this name';

CREATE TRIGGER pin_role
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.topic
    FOR EACH ROW EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.topic ENABLE ALWAYS TRIGGER pin_role;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.topic
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.pin_role('owner', 'owner_id');
ALTER TABLE pgqueue.topic ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER forget_queue
    AFTER INSERT OR UPDATE OR DELETE ON pgqueue.topic
    FOR EACH ROW EXECUTE FUNCTION pgqueue.forget_queues('id');
ALTER TABLE pgqueue.topic ENABLE ALWAYS TRIGGER forget_queue;
CREATE TRIGGER forget_queues
    AFTER TRUNCATE ON pgqueue.topic
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.forget_queues();
ALTER TABLE pgqueue.topic ENABLE ALWAYS TRIGGER forget_queues;

CREATE TABLE pgqueue.subscription (
    topic   integer NOT NULL,
    queue   integer NOT NULL,
    pattern text    NOT NULL COLLATE "C",
    CONSTRAINT subscription_is_unique PRIMARY KEY (topic, queue, pattern),
    CONSTRAINT subscription_of_topic FOREIGN KEY (topic) REFERENCES pgqueue.topic (id) ON DELETE CASCADE,
    CONSTRAINT subscription_of_queue FOREIGN KEY (queue) REFERENCES pgqueue.queue (id) ON DELETE CASCADE
) USING heap;
CREATE INDEX subscription_by_queue ON pgqueue.subscription (queue);
COMMENT ON TABLE pgqueue.subscription IS 'one row a pattern with which a queue is subscribed to a topic';

CREATE FUNCTION pgqueue.refuse_others() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'refuse_others';
REVOKE ALL ON FUNCTION pgqueue.refuse_others() FROM PUBLIC;
COMMENT ON FUNCTION pgqueue.refuse_others()
    IS 'refuses the writes of roles without the rights of the owner of the table';

CREATE TRIGGER refuse_others
    BEFORE INSERT OR UPDATE OR DELETE ON pgqueue.subscription
    FOR EACH ROW EXECUTE FUNCTION pgqueue.refuse_others();
ALTER TABLE pgqueue.subscription ENABLE ALWAYS TRIGGER refuse_others;
CREATE TRIGGER refuse_truncate
    BEFORE TRUNCATE ON pgqueue.subscription
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.refuse_others();
ALTER TABLE pgqueue.subscription ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER forget_queue
    AFTER INSERT OR UPDATE OR DELETE ON pgqueue.subscription
    FOR EACH ROW EXECUTE FUNCTION pgqueue.forget_queues('topic');
ALTER TABLE pgqueue.subscription ENABLE ALWAYS TRIGGER forget_queue;
CREATE TRIGGER forget_queues
    AFTER TRUNCATE ON pgqueue.subscription
    FOR EACH STATEMENT EXECUTE FUNCTION pgqueue.forget_queues();
ALTER TABLE pgqueue.subscription ENABLE ALWAYS TRIGGER forget_queues;

CREATE VIEW pgqueue.topic_access AS
SELECT t.*,
       (SELECT p.queue FROM pgqueue.privilege p
         WHERE p.queue = t.id AND p.role_id IS NOT NULL
         ORDER BY p.role_id LIMIT 1) IS NOT NULL AS has_grants
  FROM pgqueue.topic t;
COMMENT ON VIEW pgqueue.topic_access IS 'topics, each with whether any rights on it are granted';

SELECT pg_catalog.pg_extension_config_dump('pgqueue.topic', '');
SELECT pg_catalog.pg_extension_config_dump('pgqueue.subscription', '');

SET LOCAL search_path TO @extschema@, pg_temp;

CREATE FUNCTION pgq_create_topic(topic text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_create_topic';
COMMENT ON FUNCTION pgq_create_topic(text) IS 'makes a topic; false if it was there';

CREATE FUNCTION pgq_drop_topic(topic text)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_drop_topic';
COMMENT ON FUNCTION pgq_drop_topic(text)
    IS 'removes a topic with its subscriptions and returns how many those were; the queues and their messages stay';

CREATE FUNCTION pgq_list_topics()
    RETURNS TABLE (topic text, owner text, created_at timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_topics';
COMMENT ON FUNCTION pgq_list_topics() IS 'the topics the caller has a right on';

CREATE FUNCTION pgq_subscribe(topic text, queue text, pattern text DEFAULT '#')
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_subscribe';
COMMENT ON FUNCTION pgq_subscribe(text, text, text)
    IS 'puts messages of a topic whose routing keys match a pattern into a queue from now on; false if that was so';

CREATE FUNCTION pgq_unsubscribe(topic text, queue text, pattern text DEFAULT NULL)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_unsubscribe';
COMMENT ON FUNCTION pgq_unsubscribe(text, text, text)
    IS 'removes one pattern of a queue from a topic, or all, and returns how many there were';

CREATE TYPE pgq_topic_subscription AS (topic text, queue text, pattern text, active boolean);
COMMENT ON TYPE pgq_topic_subscription
    IS 'a pattern with which a queue is subscribed to a topic; active: the owner of the queue has the right subscribe';

CREATE FUNCTION pgq_list_subscriptions(topic text DEFAULT NULL)
    RETURNS SETOF pgq_topic_subscription LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_subscriptions';
COMMENT ON FUNCTION pgq_list_subscriptions(text)
    IS 'the subscriptions of the topics the caller owns, and of the queues the caller has a right on';

CREATE FUNCTION pgq_publish(
    topic          text,
    payload        jsonb,
    routing_key    text        DEFAULT '',
    headers        jsonb       DEFAULT NULL,
    priority       bigint      DEFAULT 0,
    delay          interval    DEFAULT NULL,
    deliver_at     timestamptz DEFAULT NULL,
    ttl            interval    DEFAULT NULL,
    group_key      text        DEFAULT NULL,
    dedup_key      text        DEFAULT NULL,
    on_duplicate   text        DEFAULT 'ignore',
    lease          interval    DEFAULT NULL,
    max_deliveries bigint      DEFAULT NULL
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_publish';
COMMENT ON FUNCTION pgq_publish(text, jsonb, text, jsonb, bigint, interval, timestamptz, interval, text, text, text, interval, bigint)
    IS 'puts a message into each queue that is subscribed with a matching pattern; the owner of the topic gets their number, others null';

CREATE FUNCTION pgq_publish_batch(
    topic          text,
    payloads       jsonb[],
    routing_keys   text[]      DEFAULT NULL,
    headers        jsonb[]     DEFAULT NULL,
    priority       bigint      DEFAULT 0,
    delay          interval    DEFAULT NULL,
    deliver_at     timestamptz DEFAULT NULL,
    ttl            interval    DEFAULT NULL,
    group_key      text        DEFAULT NULL,
    dedup_key      text        DEFAULT NULL,
    on_duplicate   text        DEFAULT 'ignore',
    lease          interval    DEFAULT NULL,
    max_deliveries bigint      DEFAULT NULL,
    dedup_keys     text[]      DEFAULT NULL
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_publish_batch';
COMMENT ON FUNCTION pgq_publish_batch(text, jsonb[], text[], jsonb[], bigint, interval, timestamptz, interval, text, text, text, interval, bigint, text[])
    IS 'publishes all payloads to a topic, or none; its owner gets the number of messages that queues got, others null';

CREATE FUNCTION pgq_grant_topic(topic text, role text, privilege text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_grant_topic';
COMMENT ON FUNCTION pgq_grant_topic(text, text, text)
    IS 'grants publish or subscribe on a topic to a role, or to every role (public); false if it was granted';

CREATE FUNCTION pgq_revoke_topic(topic text, role text, privilege text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_revoke_topic';
COMMENT ON FUNCTION pgq_revoke_topic(text, text, text) IS 'takes back what pgq_grant_topic granted; false if it was not granted';

CREATE TYPE pgq_topic_grant AS (topic text, role text, privilege text);
COMMENT ON TYPE pgq_topic_grant IS 'a right that was granted on a topic; role public: to every role';

CREATE FUNCTION pgq_list_topic_grants(topic text DEFAULT NULL)
    RETURNS SETOF pgq_topic_grant LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'pgq_list_topic_grants';
COMMENT ON FUNCTION pgq_list_topic_grants(text)
    IS 'what was granted on the topics the caller owns; role public: to every role';

CREATE FUNCTION pgq_set_topic_owner(topic text, owner text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgq_set_topic_owner';
COMMENT ON FUNCTION pgq_set_topic_owner(text, text)
    IS 'gives a topic to a role that the caller is a member of; false if it was its owner';
