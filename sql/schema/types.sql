-- The rows that functions give where a parameter and a column share a name.

CREATE TYPE pgq_message AS (
    id           bigint,
    queue        text,
    payload      jsonb,
    body         bytea,
    headers      jsonb,
    priority     bigint,
    group_key    text,
    delivery     bigint,
    enqueued_at  timestamptz,
    leased_until timestamptz,
    receipt      text
);
COMMENT ON TYPE pgq_message IS 'a message as a consumer gets it; receipt stands for (id, delivery), and is null unless the caller has leased it';

CREATE TYPE pgq_message_details AS (
    id             bigint,
    queue          text,
    state          text,
    payload        jsonb,
    body           bytea,
    headers        jsonb,
    priority       bigint,
    group_key      text,
    dedup_key      text,
    delivery       bigint,
    max_deliveries bigint,
    enqueued_at    timestamptz,
    leased_until   timestamptz,
    deliver_at     timestamptz,
    expires_at     timestamptz,
    settled_at     timestamptz,
    died_at        timestamptz,
    reason         text,
    errors         jsonb,
    attempts       bigint
);
COMMENT ON TYPE pgq_message_details IS 'all that is known of a message: alive, dead or archived';

CREATE TYPE pgq_lease AS (id bigint, leased_until timestamptz);
COMMENT ON TYPE pgq_lease IS 'a message and the end of its lease';

CREATE TYPE pgq_failure AS (id bigint, outcome text, retry_at timestamptz);
COMMENT ON TYPE pgq_failure IS 'what became of a failed message: retry (and when) or dead';

CREATE TYPE pgq_queue_stats AS (
    queue            text,
    ready            bigint,
    delayed          bigint,
    leased           bigint,
    blocked          bigint,
    dead             bigint,
    total            bigint,
    oldest_ready_age interval,
    pushed           bigint,
    delivered        bigint,
    deleted          bigint,
    retried          bigint,
    died             bigint,
    expired          bigint,
    oldest_ready_seconds double precision
);
COMMENT ON TYPE pgq_queue_stats IS 'what is in a queue now, and what has happened in it since it was made';

CREATE TYPE pgq_queue_grant AS (queue text, role text, privilege text);
COMMENT ON TYPE pgq_queue_grant IS 'a right that was granted on a queue; role public: to every role';

CREATE TYPE pgq_push_outcome AS (id bigint, outcome text);
COMMENT ON TYPE pgq_push_outcome IS 'the message that carries a push, and what became of it: pushed, ignored or replaced';
