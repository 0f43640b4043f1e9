"""The calls that are measured: each function of SQL, and each step of a round.

A call acts on the queue `q`, whatever lies there, and leaves it as it was but for a few messages. Columns of the
last row of a statement are parameters of those after it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    sql: tuple  # measured
    given: tuple = ()  # before it
    meanwhile: tuple = ()  # after that, in another session
    after: tuple = ()
    restart: bool = False  # the server is started again just before
    per_size: bool = False  # the call does something for each of the size: its cost is divided by the size


def call(*sql, **options):
    return Call(sql, **options)


PUSH = "SELECT pgq_push('q', '1') AS id"
PUSH_TEN = "SELECT count(*) FROM pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[10]))"
RESERVE = "SELECT id, delivery FROM pgq_reserve('q', '1 h')"
RECEIPT = "SELECT id, delivery, receipt FROM pgq_reserve('q', '1 h')"
RESERVE_TEN = "SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('q', '1 h', 10)"
DELETE = "SELECT pgq_delete(%(id)s, %(delivery)s, strict => true)"
DELETE_TEN = "SELECT pgq_delete_batch(%(ids)s, %(deliveries)s, strict => true)"
BURY = "SELECT pgq_bury(%(id)s, 'no', %(delivery)s, strict => true)"
CREATE = "SELECT pgq_create_queue('tmp')"
DROP = "SELECT pgq_drop_queue('tmp')"
PAUSE = "SELECT pg_sleep(0.005)"  # what is due, or ends, after a millisecond is so then

ONE = {"given": (PUSH, RESERVE)}
TEN = {"given": (PUSH_TEN, RESERVE_TEN)}
BIN = {"given": (CREATE, "SELECT pgq_push('tmp', '1')")}

# A transaction of each push, and of each consumer's call.
PRODUCE = {
    "push": call(PUSH),
    "push, new key": call("SELECT pgq_push('q', '1', dedup_key => gen_random_uuid()::text)"),
    "push, key that waits": call("SELECT outcome FROM pgq_push_result('q', '1', dedup_key => 'waits')"),
    "push, group": call("SELECT pgq_push('q', '1', group_key => 'h' || gen_random_uuid()::text)"),
    "push, delayed": call("SELECT pgq_push('q', '1', delay => '2 days')"),
    "push of 10": call(PUSH_TEN),
    "push each of 10": call(
        "SELECT count(*) FROM pgq_push_each('q', (SELECT jsonb_agg(jsonb_build_object('payload', n, 'priority', n % 2)) FROM generate_series(1, 10) n))"
    ),
    "push, bytes": call("SELECT pgq_push_bytes('q', 'x')"),
    "push, bytes of 10": call("SELECT pgq_push_bytes_batch('q', array_fill('x'::bytea, ARRAY[10]))"),
    "update": call("SELECT pgq_update(%(id)s, '2')", given=(PUSH,)),
    "cancel": call("SELECT pgq_cancel(%(id)s)", given=(PUSH,)),
    "cancel batch": call("SELECT pgq_cancel_batch(ARRAY[%(id)s::bigint])", given=(PUSH,)),
    "move": call("SELECT pgq_move(%(id)s, 'aside')", given=(PUSH,)),
    "move batch": call("SELECT * FROM pgq_move_batch(ARRAY[%(id)s::bigint], 'aside')", given=(PUSH,)),
}

CONSUME = {
    "reserve": call(RESERVE, given=(PUSH,), after=(DELETE,)),
    "reserve of 10": call(RESERVE_TEN, given=(PUSH_TEN,), after=(DELETE_TEN,)),
    "reserve, REPEATABLE READ": call(
        "BEGIN ISOLATION LEVEL REPEATABLE READ", RESERVE, "COMMIT", given=(PUSH,), after=(DELETE,)
    ),
    "reserve after own push": call("BEGIN", PUSH, RESERVE, "COMMIT", after=(DELETE,)),
    "reserve, lifo": call("SELECT id, delivery FROM pgq_reserve('q', '1 h', lifo => true)", given=(PUSH,), after=(DELETE,)),
    "reserve, one group": call(
        "SELECT id, delivery FROM pgq_reserve('q', '1 h', group_key => 'alone')",
        given=("SELECT pgq_push('q', '1', group_key => 'alone')",),
        after=(DELETE,),
    ),
    "reserve, filter": call("SELECT id FROM pgq_reserve('q', filter => '{\"no\": 1}')"),
    "pop": call("SELECT id FROM pgq_pop('q')", given=(PUSH,)),
    "next": call(
        "SELECT id, delivery FROM pgq_next('q', ARRAY[%(id)s::bigint], ARRAY[%(delivery)s::bigint], '1 h')",
        given=(PUSH, PUSH, RESERVE),
        after=(DELETE,),
    ),
    "wait": call("CALL pgq_wait('q', '1 ms')"),
    "get": call("SELECT id FROM pgq_get(%(id)s)", given=(PUSH,)),
    "delete": call(DELETE, **ONE),
    "delete batch": call(DELETE_TEN, **TEN),
    "extend": call("SELECT * FROM pgq_extend(%(id)s, '1 h', %(delivery)s)", **ONE, after=(DELETE,)),
    "extend batch": call("SELECT * FROM pgq_extend_batch(%(ids)s, '1 h', %(deliveries)s)", **TEN, after=(DELETE_TEN,)),
    "release": call("SELECT pgq_release(%(id)s, '0', %(delivery)s)", **ONE),
    "release batch": call("SELECT pgq_release_batch(%(ids)s, '0', %(deliveries)s)", **TEN),
    "fail": call("SELECT * FROM pgq_fail(%(id)s, 'no', %(delivery)s, '2 days')", **ONE),
    "fail batch": call("SELECT * FROM pgq_fail_batch(%(ids)s, 'no', %(deliveries)s, '2 days')", **TEN),
    "bury": call(BURY, **ONE),
    "delete by receipt": call("SELECT pgq_delete_by_receipt(%(receipt)s, strict => true)", given=(PUSH, RECEIPT)),
    "delete by receipts": call("SELECT pgq_delete_by_receipts(ARRAY[%(receipt)s], strict => true)", given=(PUSH, RECEIPT)),
    "extend by receipt": call(
        "SELECT * FROM pgq_extend_by_receipt(%(receipt)s, '1 h')", given=(PUSH, RECEIPT), after=(DELETE,)
    ),
    "extend by receipts": call(
        "SELECT * FROM pgq_extend_by_receipts(ARRAY[%(receipt)s], '1 h')", given=(PUSH, RECEIPT), after=(DELETE,)
    ),
    "release by receipt": call("SELECT pgq_release_by_receipt(%(receipt)s)", given=(PUSH, RECEIPT)),
    "release by receipts": call("SELECT pgq_release_by_receipts(ARRAY[%(receipt)s])", given=(PUSH, RECEIPT)),
    "fail by receipt": call("SELECT * FROM pgq_fail_by_receipt(%(receipt)s, 'no', '2 days')", given=(PUSH, RECEIPT)),
    "fail by receipts": call(
        "SELECT * FROM pgq_fail_by_receipts(ARRAY[%(receipt)s], 'no', '2 days')", given=(PUSH, RECEIPT)
    ),
    "bury by receipt": call("SELECT pgq_bury_by_receipt(%(receipt)s, 'no')", given=(PUSH, RECEIPT)),
    "bury by receipts": call("SELECT pgq_bury_by_receipts(ARRAY[%(receipt)s], 'no')", given=(PUSH, RECEIPT)),
    "bury batch": call("SELECT pgq_bury_batch(%(ids)s, 'no', %(deliveries)s)", **TEN),
}

LOOK = {
    "peek ready": call("SELECT id FROM pgq_peek('q')"),
    "peek leased": call("SELECT id FROM pgq_peek('q', state => 'leased')"),
    "peek delayed": call("SELECT id FROM pgq_peek('q', state => 'delayed')"),
    "peek blocked": call("SELECT id FROM pgq_peek('q', state => 'blocked')"),
    "peek archived": call("SELECT id FROM pgq_peek('q', state => 'archived')"),
    "peek dead": call("SELECT id FROM pgq_peek_dead('q')"),
    "count": call("SELECT pgq_count('q')"),
    "count, exact": call("SELECT pgq_count('q', true)"),
    "stats": call("SELECT * FROM pgq_stats('q')"),
    "stats of all": call("SELECT * FROM pgq_stats()"),
    "stats, exact": call("SELECT * FROM pgq_stats('q', true)"),
    "list_queues": call("SELECT * FROM pgq_list_queues()"),
}

DEAD = {
    "dump_dead": call("SELECT id FROM pgq_dump_dead('q')", given=(PUSH, RESERVE, BURY)),
    "redrive 1": call("SELECT pgq_redrive('q', 1)", given=(PUSH, RESERVE, BURY)),
    "redrive by id": call("SELECT pgq_redrive_dead(%(id)s)", given=(PUSH, RESERVE, BURY)),
    "redrive by ids": call("SELECT * FROM pgq_redrive_dead_batch(ARRAY[%(id)s::bigint])", given=(PUSH, RESERVE, BURY)),
    "delete dead": call("SELECT pgq_delete_dead(%(id)s)", given=(PUSH, RESERVE, BURY)),
    "delete dead batch": call("SELECT pgq_delete_dead_batch(ARRAY[%(id)s::bigint])", given=(PUSH, RESERVE, BURY)),
    "redrive, rare reason": call("SELECT pgq_redrive('q', 1, reason => 'timeout')"),
}

# On another queue, which is empty or holds one message.
MANAGE = {
    "create_queue": call(CREATE, after=(DROP,)),
    "create_queue, max_leased": call("SELECT pgq_create_queue('tmp', '{\"max_leased\": 10}')", after=(DROP,)),
    "alter_queue": call("SELECT pgq_alter_queue('tmp', '{\"lease\": \"1 min\"}')", **BIN, after=(DROP,)),
    "alter_queue, max_leased": call("SELECT pgq_alter_queue('tmp', '{\"max_leased\": 10}')", **BIN, after=(DROP,)),
    "alter_queue, groups": call("SELECT pgq_alter_queue('tmp', '{\"groups\": \"parallel\"}')", **BIN, after=(DROP,)),
    "purge": call("SELECT pgq_purge('tmp')", **BIN, after=(DROP,)),
    "purge, dead of a group": call("SELECT pgq_purge('q', 'dead', 'none')"),
    "drop_queue": call(DROP, **BIN),
    "pause": call("SELECT pgq_pause('tmp')", **BIN, after=(DROP,)),
    "resume": call("SELECT pgq_resume('tmp')", given=(*BIN["given"], "SELECT pgq_pause('tmp')"), after=(DROP,)),
    "set_owner": call("SELECT pgq_set_owner('tmp', 'curve_a')", **BIN, after=(DROP,)),
    "reassign_owned": call(
        "SELECT pgq_reassign_owned('curve_a', 'curve_b')",
        given=(*BIN["given"], "SELECT pgq_set_owner('tmp', 'curve_a')"),
        after=(DROP,),
    ),
    "grant": call("SELECT pgq_grant('q', 'curve_a', 'push')", after=("SELECT pgq_revoke('q', 'curve_a', 'push')",)),
    "revoke": call("SELECT pgq_revoke('q', 'curve_a', 'push')", given=("SELECT pgq_grant('q', 'curve_a', 'push')",)),
    "list_grants": call("SELECT * FROM pgq_list_grants('q')"),
}

SUBSCRIBE = "SELECT pgq_subscribe('news', 'q', 'tmp.#')"
UNSUBSCRIBE = "SELECT pgq_unsubscribe('news', 'q', 'tmp.#')"
PUBLISH = "SELECT pgq_publish('news', '1', 'curve')"
CREATE_TOPIC = "SELECT pgq_create_topic('tmp')"
DROP_TOPIC = "SELECT pgq_drop_topic('tmp')"
TOPIC = {
    "publish": call(PUBLISH),
    "publish of 10": call("SELECT pgq_publish_batch('news', array_fill('1'::jsonb, ARRAY[10]), array_fill('curve'::text, ARRAY[10]))"),
    "publish after a change": call(PUBLISH, given=(SUBSCRIBE,), after=(UNSUBSCRIBE,)),
    "subscribe": call(SUBSCRIBE, after=(UNSUBSCRIBE,)),
    "unsubscribe": call(UNSUBSCRIBE, given=(SUBSCRIBE,)),
    "list_subscriptions": call("SELECT * FROM pgq_list_subscriptions('news')"),
    "list_topics": call("SELECT * FROM pgq_list_topics()"),
    "create_topic": call(CREATE_TOPIC, after=(DROP_TOPIC,)),
    "drop_topic": call(DROP_TOPIC, given=(CREATE_TOPIC,)),
    "grant_topic": call(
        "SELECT pgq_grant_topic('news', 'curve_a', 'publish')", after=("SELECT pgq_revoke_topic('news', 'curve_a', 'publish')",)
    ),
    "revoke_topic": call(
        "SELECT pgq_revoke_topic('news', 'curve_a', 'publish')", given=("SELECT pgq_grant_topic('news', 'curve_a', 'publish')",)
    ),
    "list_topic_grants": call("SELECT * FROM pgq_list_topic_grants('news')"),
    "set_topic_owner": call("SELECT pgq_set_topic_owner('tmp', 'curve_a')", given=(CREATE_TOPIC,), after=(DROP_TOPIC,)),
}

UNSCHEDULE = "SELECT pgq_unschedule('tmp')"
UNWATCH = "SELECT pgq_unwatch('tmp')"
SCHEDULE = "SELECT pgq_schedule('tmp', 'aside', '1 h', '1')"
WATCH = "SELECT pgq_watch('tmp', 'aside', 'SELECT id, hash FROM watched', '1 h')"
CLOCK = {
    "schedule": call(SCHEDULE, after=(UNSCHEDULE,)),
    "unschedule": call(UNSCHEDULE, given=(SCHEDULE,)),
    "list_schedules": call("SELECT * FROM pgq_list_schedules()"),
    "watch": call(WATCH, after=(UNWATCH,)),
    "unwatch": call(UNWATCH, given=(WATCH,)),
    "list_watches": call("SELECT * FROM pgq_list_watches()"),
    "capture, a row": call("INSERT INTO captured_row (n) VALUES (1)"),
    "capture, a statement": call("INSERT INTO captured_statement (n) VALUES (1)"),
}

ROUND = "SELECT * FROM pgq_vacuum()"
DUE_NOW = "UPDATE pgqueue.schedule SET next_run = now() WHERE name = 'tmp'"

# Rounds by hand, by the name of the step that has one thing to do.
ROUNDS = {
    "round": call(ROUND, given=(ROUND,)),
    "round: due": call(ROUND, given=("SELECT pgq_push('q', '1', delay => '1 ms')", PAUSE)),
    "round: leases": call(ROUND, given=(PUSH, "SELECT id FROM pgq_reserve('q', '1 ms')", PAUSE)),
    "round: ttl": call(ROUND, given=("SELECT pgq_push('q', '1', ttl => '1 ms')", PAUSE)),
    "round: dead": call(
        ROUND,
        given=("SELECT pgq_push('keeps', '1')", "SELECT id, delivery FROM pgq_reserve('keeps')", BURY, PAUSE),
    ),
    "round: archive": call(ROUND, given=("SELECT pgq_push('keeps', '1')", "SELECT id FROM pgq_pop('keeps')", PAUSE)),
    "round: keys": call(
        ROUND,
        given=("SELECT pgq_push('keeps', '1', dedup_key => gen_random_uuid()::text)", "SELECT id FROM pgq_pop('keeps')", PAUSE),
    ),
    "round: dropped": call(ROUND, given=(*BIN["given"], DROP)),
    "round: counters": call(ROUND, given=(ROUND, PUSH)),
    "round: prepared": call(ROUND, given=("BEGIN", PUSH, "PREPARE TRANSACTION 'curve'", "COMMIT PREPARED 'curve'")),
    "round: begun": call(
        ROUND,
        given=(
            "BEGIN",
            "SELECT pgq_push('begun', '1')",
            "PREPARE TRANSACTION 'curve'",
            "SELECT pgq_push('begun', '1')",
            "COMMIT PREPARED 'curve'",
        ),
        after=("SELECT pgq_drop_queue('begun')", ROUND),
    ),
    "round: roles": call(
        ROUND, given=("CREATE ROLE curve_gone", "SELECT pgq_grant('q', 'curve_gone', 'push')", "DROP ROLE curve_gone")
    ),
    "round: schedules": call(ROUND, given=(SCHEDULE, DUE_NOW), after=(UNSCHEDULE,)),
    "round: a watch": call(ROUND, given=(WATCH, DUE_NOW), after=(UNWATCH,)),
}

# What every database has: the queues that the calls above use.
SET_UP = """
CREATE EXTENSION pgqueue;
SELECT pgq_create_queue('q', '{"max_deliveries": 0}'), pgq_create_queue('aside');
SELECT pgq_create_topic('news'); SELECT pgq_subscribe('news', 'q', 'curve');
SELECT pgq_create_queue('keeps', '{"dead_retention": "1 ms", "archive": "1 ms", "dedup_window": "1 ms"}');
SELECT pgq_push('q', '1', dedup_key => 'waits', delay => '2 days');
CREATE TABLE watched AS SELECT 1 AS id, '1' AS hash;
CREATE TABLE captured_row (id bigserial PRIMARY KEY, n int);
CREATE TABLE captured_statement (LIKE captured_row INCLUDING ALL);
CREATE TRIGGER capture AFTER INSERT ON captured_row FOR EACH ROW EXECUTE FUNCTION pgq_capture('aside');
CREATE TRIGGER capture AFTER INSERT ON captured_statement REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('aside');
"""
ROLES = "CREATE ROLE curve_a; CREATE ROLE curve_b"
