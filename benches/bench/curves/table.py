"""The table of curves: what grows, what is called while it does, and how the cost may grow.

Each size has a database of its own, so a call that reads what other queues hold is seen as well. A bound that is not
named here is `FLAT_CALL`: the call costs the same at each size.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ..measure import QUICK
from .calls import (
    CLOCK, CONSUME, DEAD, DELETE, LOOK, MANAGE, PAUSE, PRODUCE, RESERVE, ROUND, ROUNDS, TOPIC, UNWATCH, WATCH, Call, call,
)
from .growth import Bound, flat, linear, only

FLAT_CALL = flat()
FEW_BLOCKS = 3  # for bounds against a neighbour, where a handful of blocks would be the whole difference


@dataclass(frozen=True)
class Dimension:
    counts: str  # what the size is the number of
    fill: tuple  # puts so many there: %(n)s
    calls: dict
    bounds: dict = field(default_factory=dict)  # where a call is not flat
    sizes: tuple = (1_000, 10_000, 100_000)
    quick: tuple = (500, 2_000, 8_000)
    held: tuple = ()  # statements of a session that stays as they leave it, before `fill`
    held_after: tuple = ()  # the same, after `fill`
    repeat: tuple = ()  # after `fill`, so many times; %(i)s counts
    every: Bound = FLAT_CALL  # bound of calls that `bounds` does not name
    analyze: bool = True
    sleepers: Callable = lambda size: ()  # sessions in pgq_wait: the `min` of each
    worker: bool = False  # the worker does its duties meanwhile


# The quick form has these only where they are likely to find what others do not.
RARE = {
    *MANAGE, *CLOCK, *(name for name in ROUNDS if name != "round"), "cancel batch", "move batch", "push, bytes", "push, bytes of 10",
    "extend batch", "release batch", "fail batch", "bury batch", "list_queues",
}  # fmt: skip
RARE_IN = {"ready", "others", "queues"}


def quick_calls(name, dimension):
    if name in STATES | QUEUES and name not in RARE_IN:
        return {call: own for call, own in dimension.calls.items() if call not in RARE or call in dimension.bounds and call not in ROUNDS}
    return dimension.calls


def push(count="%(n)s", more=""):
    return f"SELECT count(*) FROM pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[{count}::int]){more})"


def lease(count="%(n)s", until="1 day"):
    return f"SELECT count(*) FROM pgq_reserve('q', '{until}', {count})"


def each(expression, count="%(n)s"):
    return f"SELECT count({expression}) FROM generate_series(1, {count}::int) i"


def loop(statement, count="%(n)s"):
    """In transactions of their own."""
    return f"DO $$ BEGIN FOR i IN 1 .. {count} LOOP {statement}; COMMIT; END LOOP; END $$"


def rounds_until(condition):
    return f"DO $$ BEGIN LOOP PERFORM pgq_vacuum(); COMMIT; EXIT WHEN {condition}; END LOOP; END $$"


CALLS = PRODUCE | CONSUME | LOOK | DEAD | MANAGE | CLOCK
EXACT = {name: linear("README: `exact` examines each message") for name in ("count, exact", "stats, exact")}
FILTER = {"reserve, filter": linear("README: `filter` examines every message that it skips")}
WINDOW = {name: linear("a round looks at up to 50 pages of messages in turn (src/engine/sweep)") for name in ROUNDS}
MESSAGES = EXACT | FILTER | WINDOW

GROUP_CYCLE = {
    "reserve of the group": call(
        "SELECT id, delivery FROM pgq_reserve('q', '1 h', group_key => 'g')", after=(DELETE,)
    ),
    "delete of its first": call(DELETE, given=("SELECT id, delivery FROM pgq_reserve('q', '1 h', group_key => 'g')",)),
    "push to it": call("SELECT pgq_push('q', '1', group_key => 'g')"),
}

STATES = {
    "ready": Dimension("messages ready", (push(),), CALLS | ROUNDS, MESSAGES),
    "delayed": Dimension("messages delayed", (push(more=", delay => '1 day'"),), CALLS | ROUNDS, MESSAGES),
    "due": Dimension(
        "messages due at one moment",
        (push(more=", delay => '1 ms'"), PAUSE),
        CALLS,
        MESSAGES,
    ),
    "due, one and many": Dimension(
        "messages due at one moment, against one",
        (push(more=", delay => '1 ms'"), PAUSE),
        {"wait": CONSUME["wait"], "peek ready": LOOK["peek ready"]},
        every=flat(2),
        sizes=(1, 1_000, 100_000),
        quick=(1, 500, 8_000),
    ),
    "leased": Dimension("messages leased", (push(), lease()), CALLS | ROUNDS, MESSAGES),
    "ended": Dimension("messages whose lease has ended", (push(), lease(until="1 ms"), PAUSE), CALLS, MESSAGES),
    "waiting": Dimension(
        "messages behind the leased first of a group",
        (push(more=", group_key => 'g'"), "SELECT id FROM pgq_reserve('q', '1 day', group_key => 'g')"),
        CALLS | ROUNDS,
        MESSAGES,
    ),
    "one group": Dimension("messages of one group, none leased", (push(more=", group_key => 'g'"),), GROUP_CYCLE),
    "groups": Dimension("groups of one message", (each("pgq_push('q', '1', group_key => 'g' || i)"),), CALLS | ROUNDS, MESSAGES),
    "groups leased": Dimension(
        "groups of one leased message", (each("pgq_push('q', '1', group_key => 'g' || i)"), lease()), CALLS, MESSAGES
    ),
    "dead": Dimension(
        "dead letters",
        (push(), "SELECT count(*) FROM pgq_bury_batch((SELECT array_agg(id) FROM pgq_reserve('q', '1 day', %(n)s)), 'no')"),
        CALLS | ROUNDS,
        MESSAGES,
    ),
    "archived": Dimension(
        "messages archived",
        (
            """SELECT pgq_alter_queue('q', '{"archive": "1 day"}')""",
            push(),
            "SELECT count(*) FROM pgq_pop('q', %(n)s)",
        ),
        CALLS | ROUNDS,
        MESSAGES,
    ),
    "ttl over": Dimension("messages whose ttl is over", (push(more=", ttl => '1 ms'"), PAUSE), CALLS, MESSAGES),
    "keys": Dimension("messages with keys", (each("pgq_push('q', '1', dedup_key => 'k' || i)"),), CALLS | ROUNDS, MESSAGES),
    "others": Dimension(
        "messages of another queue, in each state",
        tuple(
            sql.replace("'q'", "'other'")
            for sql in (
                push(),
                lease("%(n)s / 2"),
                push(more=", delay => '1 day'"),
                push(more=", group_key => 'g'"),
                "SELECT count(*) FROM pgq_bury_batch((SELECT array_agg(id) FROM pgq_reserve('q', '1 day', %(n)s / 4)), 'no')",
            )
        ),
        CALLS | ROUNDS,
        WINDOW,
    ),
}

ANOTHER = "'many ' || 1 + floor(random() * %(n)s)::int"

QUEUES = {
    "queues": Dimension(
        "queues that are in use",
        (loop("PERFORM pgq_push('many ' || i, '1')"),),
        CALLS
        | {name: ROUNDS[name] for name in ("round", "round: due", "round: counters")},
        {"stats of all": linear("a row for each queue"), "list_queues": linear("a row for each queue")}
        | {"reassign_owned": linear("all queues are read")}
        | EXACT
        | WINDOW,
        sizes=(1_000, 5_000, 20_000),
        quick=(300, 900, 2_700),
    ),
    "another queue": Dimension(
        "queues, another of which is used each time",
        (each("pgq_create_queue('many ' || i)"),),
        {
            "push": call(f"SELECT pgq_push({ANOTHER}, '1')"),
            "reserve": call(f"SELECT id FROM pgq_reserve({ANOTHER})"),
            "stats": call(f"SELECT * FROM pgq_stats({ANOTHER})"),
        },
        every=flat(1.3, cpu=1.3),
        sizes=(10, 1_000, 100_000),
        quick=(10, 300, 3_000),
    ),
    "queues pushed to": Dimension(
        "queues that one transaction pushes to",
        (each("pgq_create_queue('many ' || i)"),),
        {"a push": call(each("pgq_push('many ' || i, '1')"), per_size=True)},
        {"a push": flat(3, cpu=1.5, slack=0)},
        sizes=(100, 1_000, 10_000),
        quick=(50, 200, 800),
    ),
    "retention": Dimension(
        "queues with dead_retention",
        (each("pgq_create_queue('many ' || i, '{\"dead_retention\": \"1 day\"}')"),),
        {"round": ROUNDS["round"], "push": PRODUCE["push"]},
        {"round": linear("docs/engine.md: retention goes through the queues for a turn")},
        sizes=(100, 1_000, 10_000),
        quick=(50, 200, 800),
    ),
    "dropped queues": Dimension(
        "queues dropped within a day",
        (each("pgq_create_queue('many ' || i)"), each("pgq_drop_queue('many ' || i)")),
        {"round": ROUNDS["round"], "push": PRODUCE["push"], "create_queue": MANAGE["create_queue"], "reserve": CONSUME["reserve"]},
        {"round": linear("what may still arrive for them is looked for")},
        sizes=(100, 1_000, 10_000),
        quick=(400, 800, 1_600),  # below, another plan is cheaper
    ),
}

IN_FLIGHT = "(CASE WHEN %(many)s THEN 100000 ELSE 8000 END)"
SCANS = {name: CONSUME[name] for name in ("reserve", "reserve of 10", "wait", "pop")} | {
    name: LOOK[name] for name in ("peek ready", "peek leased", "count", "stats")
}
LAST = {  # with messages that come after all those of other priorities
    name: Call(own.sql, tuple(sql.replace("pgq_push('q', '1')", "pgq_push('q', '1', priority => 5000)") for sql in own.given), after=own.after)
    for name, own in SCANS.items()
    if name != "reserve of 10"
}
PRIORITY_PUSH = "pgq_push('q', '1', priority => i %% %(n)s)"

PRIORITIES = {
    "priorities": Dimension(
        "priorities in use, with many messages in flight",
        (each(PRIORITY_PUSH, IN_FLIGHT), lease("1000000")),
        LAST | {"push": PRODUCE["push"]},
        every=flat(3),
        sizes=(1, 16, 17, 1_000),
        quick=(1, 17, 200),
    ),
    "priorities once": Dimension(
        "more urgent priorities used once before, with many messages in flight",
        (
            each("pgq_push('q', '1', priority => -i)"),
            "SELECT count(*) FROM pgq_pop('q', %(n)s)",
            push(IN_FLIGHT),
            lease("1000000"),
            *(("SELECT pg_sleep(6)", "SELECT count(*) FROM pgq_reserve('q')") * 3),  # reserves look up priorities every five seconds
        ),
        SCANS,
        every=flat(1.5),
        sizes=(1, 16, 1_000),
        quick=(1, 16, 100),
    ),
    "priorities, full": Dimension(
        "priorities of a full queue with drop_oldest",
        (
            """SELECT pgq_alter_queue('q', '{"max_length": 2000, "on_full": "drop_oldest"}')""",
            each("pgq_push('q', '1', priority => i %% %(n)s)", "2000"),
        ),
        {"push": PRODUCE["push"]},
        every=flat(2),
        sizes=(1, 16, 1_000),
        quick=(1, 16, 200),
    ),
}

GROUPS = {
    "batch of groups": Dimension(
        "groups, of which a batch takes a hundred; 0: no groups",
        (
            each("pgq_push('q', '1', group_key => CASE WHEN %(n)s > 0 THEN 'g' || i %% %(n)s END)", "greatest(%(n)s, 2000)"),
        ),
        {
            "reserve of 100": call(
                "SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('q', '1 h', 100)",
                after=("SELECT count(*) FROM pgq_release_batch(%(ids)s, '0', %(deliveries)s)",),
            )
        },
        {"reserve of 100": only(cpu=1.8, blocks=6)},
        sizes=(0, 1_000, 100_000),
        quick=(0, 500, 8_000),
    ),
}

SIZES = {
    "payload": Dimension(
        "bytes of a payload",
        ("CREATE TABLE text AS SELECT to_jsonb(string_agg(md5(i::text), '')) AS payload FROM generate_series(1, %(n)s / 32) i",),
        {
            "push": call("SELECT pgq_push('q', payload) FROM text"),
            "reserve": call(RESERVE, given=("SELECT pgq_push('q', payload) FROM text",), after=(DELETE,)),
            "delete": call(DELETE, given=("SELECT pgq_push('q', payload) FROM text", RESERVE)),
            "bury": call("SELECT pgq_bury(%(id)s, 'no')", given=("SELECT pgq_push('q', payload) AS id FROM text",)),
        },
        every=linear("as an INSERT and DELETE of the same"),
        sizes=(1_000, 100_000, 10_000_000),
        quick=(1_000, 10_000, 100_000),
    ),
    "batch": Dimension(
        "messages of one call, cost of each",
        (),
        {
            "push": call(push(), per_size=True),
            "reserve": call(
                "SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('q', '1 h', %(n)s)",
                given=(push(),),
                after=("SELECT count(*) FROM pgq_delete_batch(%(ids)s, %(deliveries)s)", "VACUUM pgqueue.message"),
                per_size=True,
            ),
        }
        | {
            name: call(
                sql,
                given=(
                    push(),
                    "SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('q', '1 h', %(n)s)",
                ),
                after=("SELECT pgq_purge('q')", "VACUUM pgqueue.message"),
                per_size=True,
            )
            for name, sql in {
                "delete": "SELECT count(*) FROM pgq_delete_batch(%(ids)s, %(deliveries)s)",
                "extend": "SELECT count(*) FROM pgq_extend_batch(%(ids)s, '2 h', %(deliveries)s)",
                "release": "SELECT count(*) FROM pgq_release_batch(%(ids)s, '0', %(deliveries)s)",
                "fail": "SELECT count(*) FROM pgq_fail_batch(%(ids)s, 'no', %(deliveries)s)",
                "bury": "SELECT count(*) FROM pgq_bury_batch(%(ids)s, 'no', %(deliveries)s)",
                "purge": "SELECT pgq_purge('q')",
            }.items()
        },
        every=flat(2, slack=0),
        sizes=(100, 1_000, 10_000),
        quick=(50, 500, 5_000),
    ),
    "captured rows": Dimension(
        "rows that one statement inserts, cost of each",
        (),
        {
            "capture, for each row": call("INSERT INTO captured_row (n) SELECT generate_series(1, %(n)s::int)", per_size=True),
            "capture, for each statement": call(
                "INSERT INTO captured_statement (n) SELECT generate_series(1, %(n)s::int)", per_size=True
            ),
        },
        every=flat(1.5, slack=1.5),
        sizes=(100, 1_000, 10_000),
        quick=(100, 500, 2_000),
    ),
    "capture": Dimension(
        "a trigger for each row: 0 written by hand, 1 pgq_capture",
        (
            """CREATE FUNCTION by_hand() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pgq_push('aside',
                 jsonb_build_object('op', 'create', 'table', TG_RELID::regclass, 'key', jsonb_build_object('id', NEW.id),
                                    'old', NULL, 'new', to_jsonb(NEW))); RETURN NULL; END$$""",
            "CREATE TABLE t (id bigserial PRIMARY KEY, n int)",
            """DO $$ BEGIN EXECUTE 'CREATE TRIGGER capture AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION '
                 || CASE WHEN %(n)s = 0 THEN 'by_hand()' ELSE 'pgq_capture(''aside'')' END; END $$""",
        ),
        {"INSERT of 1,000 rows": call("INSERT INTO t (n) SELECT generate_series(1, 1000)")},
        {"INSERT of 1,000 rows": only(blocks=1.25, cpu=1.0)},
        sizes=(0, 1),
        quick=(0, 1),
    ),
    "slots": Dimension(
        "max_leased, of which one slot is free",
        (
            "SELECT pgq_alter_queue('q', jsonb_build_object('max_leased', %(n)s::int))",
            push("%(n)s - 1"),
            lease("%(n)s - 1"),
        ),
        {"reserve": CONSUME["reserve"], "wait": CONSUME["wait"], "push": PRODUCE["push"]},
        every=flat(5, cpu=5),
        sizes=(10, 1_000, 10_000),
        quick=(10, 100, 1_000),
    ),
}

GRANTED = "SET SESSION AUTHORIZATION granted_1"
RIGHTS = {
    "grants": Dimension(
        "grants on a queue",
        (
            """DO $$ BEGIN FOR i IN 1 .. %(n)s LOOP
                 IF to_regrole('granted_' || i) IS NULL THEN EXECUTE 'CREATE ROLE granted_' || i; END IF; END LOOP; END $$""",
            each("pgq_grant('q', 'granted_' || i, 'push')"),
            each("pgq_grant('q', 'granted_' || i, 'consume')", "1"),
        ),
        MANAGE
        | {name: PRODUCE[name] for name in ("push", "push, new key")}
        | {name: CONSUME[name] for name in ("reserve", "delete", "delete batch")}
        | {
            "push, by a role with a grant": call("SELECT pgq_push('q', '1')", given=(GRANTED,), after=("RESET SESSION AUTHORIZATION",)),
            "delete batch, by a role with a grant": call(
                "SELECT id FROM pgq_delete_batch(%(ids)s, %(deliveries)s) id",
                given=(GRANTED, "SELECT count(*) FROM pgq_push_batch('q', array_fill('1'::jsonb, ARRAY[10]))",
                       "SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('q', '1 h', 10)"),
                after=("RESET SESSION AUTHORIZATION",),
            ),
            "list_grants of all": call("SELECT * FROM pgq_list_grants()"),
            "round: roles": ROUNDS["round: roles"],
        },
        {
            "list_grants": linear("a row for each grant"),
            "list_grants of all": linear("a row for each grant"),
            "grant": linear("a change of rights is read whole by the next call"),
            "revoke": linear("a change of rights is read whole by the next call"),
            "round: roles": linear("the numbers of all roles with grants are compared"),
        },
        sizes=(100, 1_000, 10_000),
        quick=(20, 100, 500),
    ),
}

# The worker checks a few plans in a round, a round by hand all of them.
PLANS = {name: linear("a round by hand checks the plan of each schedule") for name in ROUNDS}

CLOCKS = {
    "subscriptions": Dimension(
        "subscriptions to a topic, each of a queue of its own",
        (each("pgq_subscribe('news', 's' || i, i || '.#')"),),
        TOPIC,
        {
            "list_subscriptions": linear("it lists them"),
            "publish after a change": linear("a session reads the subscriptions of a topic again after each change (docs/how-to/fan-out.md)"),
        },
        sizes=(100, 1_000, 10_000),
        quick=(100, 400, 1_600),
    ),
    "schedules": Dimension(
        "schedules that are not due",
        (each("pgq_schedule('many ' || i, 'aside', '1 day', '1')"),),
        CLOCK | {name: ROUNDS[name] for name in ("round", "round: schedules")} | {"push": PRODUCE["push"]},
        {
            "list_schedules": linear("a row for each schedule"),
            "list_watches": linear("schedules and watches are one table"),
        }
        | PLANS,
        sizes=(100, 1_000, 10_000),
        quick=(50, 200, 800),
    ),
    "schedules due": Dimension(
        "schedules due at once",
        (each("pgq_schedule('many ' || i, 'aside', '1 day', '1')"),),
        {
            "round, which runs 50 of them": call(ROUND, given=("UPDATE pgqueue.schedule SET next_run = now()",)),
        },
        {"round, which runs 50 of them": PLANS["round"]},
        sizes=(100, 1_000, 10_000),
        quick=(100, 300, 900),
    ),
    "watches": Dimension(
        "watches that are not due",
        (each("pgq_watch('many ' || i, 'aside', 'SELECT 1, 2', '1 day')"),),
        {name: CLOCK[name] for name in ("watch", "unwatch", "list_watches")} | {"round": ROUNDS["round"]},
        {"list_watches": linear("a row for each watch")} | PLANS,
        sizes=(100, 1_000, 10_000),
        quick=(50, 200, 800),
    ),
    "watched rows": Dimension(
        "rows that a watch returns",
        (
            "INSERT INTO watched SELECT i, md5(i::text) FROM generate_series(2, %(n)s::int) i",
            "ANALYZE watched",
        ),
        {
            "first run, cost of a row": call(
                rounds_until("pgq_count('aside') >= %(n)s"),
                given=(UNWATCH, "SELECT pgq_purge('aside')", WATCH, "UPDATE pgqueue.schedule SET next_run = now()"),
                after=(UNWATCH,),
                per_size=True,
            ),
            "a run without changes": call(
                ROUND,
                given=(
                    UNWATCH,
                    WATCH,
                    "UPDATE pgqueue.schedule SET next_run = now()",
                    ROUND,
                    "UPDATE pgqueue.schedule SET next_run = now()",
                ),
                after=(UNWATCH,),
            ),
        },
        {
            "first run, cost of a row": flat(2, slack=0),
            "a run without changes": linear("the query and what was seen are compared whole"),
        },
        sizes=(1_000, 10_000, 50_000),
        quick=(500, 2_000, 8_000),
    ),
}

HOLD = ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1 FROM pg_class LIMIT 1")
LATE = ("SELECT pgq_push('q', '1', delay => '20 ms')", "SELECT pg_sleep(0.15)")
PROMOTED = {
    "reserve after a promotion": call(RESERVE, given=LATE, after=(DELETE,)),
    "reserve": CONSUME["reserve"],
    "wait": CONSUME["wait"],
    "push, delayed": PRODUCE["push, delayed"],
}
CONSUMED = (push(), "SELECT count(*) FROM pgq_pop('q', %(n)s)")
DELAYED_CONSUMED = (push(more=", delay => '1 ms'"), PAUSE, "SELECT count(*) FROM pgq_pop('q', %(n)s)")
PREPARED = ("BEGIN", "SELECT pgq_push('q', '1')", "PREPARE TRANSACTION 'left %(n)s %(i)s'")
RETRY = (
    "SELECT pgq_push('q', '1') AS id",
    RESERVE,
    "SELECT * FROM pgq_fail(%(id)s, 'no', %(delivery)s, '20 ms')",
    "SELECT pg_sleep(0.15)",
)

HELD = {
    "snapshot": Dimension(
        "messages consumed while a snapshot is held",
        CONSUMED,
        SCANS | {"push": PRODUCE["push"], "delete": CONSUME["delete"], "fail": CONSUME["fail"], "round": ROUNDS["round"]},
        {
            "peek leased": linear("dead rows are between the leased ones; docs/engine.md, the problem"),
            "round": linear("a round looks at up to 50 pages of messages in turn (src/engine/sweep)"),
        },
        held=HOLD,
        analyze=False,
    ),
    "snapshot, delayed": Dimension(
        "delayed messages consumed while a snapshot is held",
        DELAYED_CONSUMED,
        PROMOTED | {"reserve of a retry": call(RESERVE, given=RETRY, after=(DELETE,))},
        WINDOW,
        every=flat(2),
        held=HOLD,
        analyze=False,
        worker=True,
    ),
    "snapshot, one group": Dimension(
        "messages of one group consumed while a snapshot is held",
        (push("%(n)s + 100", ", group_key => 'g'"), loop("PERFORM pgq_pop('q', group_key => 'g')")),
        GROUP_CYCLE,
        every=flat(2),
        sizes=(200, 1_000, 4_000),
        quick=(100, 400, 1_600),
        held=HOLD,
        analyze=False,
    ),
    "snapshot, one key": Dimension(
        "times one key was pushed and consumed while a snapshot is held",
        (loop("PERFORM pgq_push('q', '1', dedup_key => 'again'), pgq_pop('q')"),),
        {"push": call("SELECT pgq_push('q', '1', dedup_key => 'again')", after=("SELECT id FROM pgq_pop('q')",))},
        every=flat(2),
        sizes=(200, 1_000, 4_000),
        quick=(100, 400, 1_600),
        held=HOLD,
        analyze=False,
    ),
    "snapshot, full": Dimension(
        "messages that pushes into a full queue dropped while a snapshot is held",
        (
            """SELECT pgq_alter_queue('q', '{"max_length": 100, "on_full": "drop_oldest"}')""",
            loop("PERFORM pgq_push('q', '1')"),
        ),
        {"push": PRODUCE["push"]},
        every=flat(2),
        sizes=(500, 5_000, 20_000),
        quick=(200, 800, 3_200),
        held=HOLD,
        analyze=False,
    ),
    "prepared": Dimension(
        "messages consumed while a prepared push is left over",
        CONSUMED,
        {name: CONSUME[name] for name in ("reserve", "wait", "pop", "delete")} | {"push": PRODUCE["push"]},
        held=PREPARED,
        analyze=False,
    ),
    "prepared, delayed": Dimension(
        "delayed messages consumed while a prepared push is left over",
        DELAYED_CONSUMED,
        PROMOTED,
        every=flat(2),
        held=PREPARED,
        analyze=False,
        worker=True,
    ),
    "prepared pushes": Dimension(
        "prepared pushes left over",
        (),
        {"push": PRODUCE["push"], "reserve": CONSUME["reserve"], "wait": CONSUME["wait"]},
        sizes=(1, 20, 200),
        quick=(1, 10, 50),
        repeat=PREPARED,
    ),
    "open": Dimension(
        "messages reserved by a transaction that stays open",
        (push(),),
        {name: CONSUME[name] for name in ("reserve", "wait", "delete")} | {"push": PRODUCE["push"]},
        held_after=("BEGIN", lease()),
        analyze=False,
    ),
}

# Against a session whose caches nobody has touched: the size is 0 then.
CACHES = {
    "rounds": Dimension(
        "rounds of the worker, with nothing to do, since the last call",
        (),
        {
            name: call(*own.sql, given=own.given + own.sql, meanwhile=("SELECT pgq_vacuum() FROM generate_series(1, %(n)s)",))
            for name, own in {"push": PRODUCE["push"], "count": LOOK["count"], "push, new key": PRODUCE["push, new key"]}.items()
        },
        every=flat(1.1, cpu=1.5, slack=FEW_BLOCKS),
        sizes=(0, 1, 3),
        quick=(0, 1, 3),
    ),
    "other queues made": Dimension(
        "queues made and dropped by others since the last call",
        (),
        {
            name: call(
                *own.sql,
                given=own.given + own.sql,
                meanwhile=(
                    "SELECT count(pgq_create_queue('tmp ' || i)) FROM generate_series(1, %(n)s) i",
                    "SELECT count(pgq_drop_queue('tmp ' || i)) FROM generate_series(1, %(n)s) i",
                ),
            )
            for name, own in {"push": PRODUCE["push"], "count": LOOK["count"]}.items()
        },
        every=flat(1.5, slack=FEW_BLOCKS),
        sizes=(0, 1, 5),
        quick=(0, 1, 5),
    ),
}

AWAKE = {"push": call("SELECT pgq_push('q', '1')", after=("SELECT id FROM pgq_pop('q')",))}
CROWD = 40 if QUICK else 150  # of each size, all at once

SLEEPERS = {
    "sleepers": Dimension(
        "sleepers that wait for one message; the costs are wake-ups of all",
        (),
        AWAKE,
        every=only(wakes=3, cpu=3),
        sizes=(1, 50, 500),
        quick=(1, 10, 40),
        sleepers=lambda size: [1] * size,
    ),
    "sleepers, mixed": Dimension(
        f"sleepers that wait for 1,000 messages, among {CROWD} that wait for one; the costs are wake-ups of all",
        (),
        AWAKE,
        every=only(wakes=3, cpu=3),
        sizes=(0, 1, 5),
        quick=(0, 1, 5),
        sleepers=lambda size: [1] * CROWD + [1000] * size,
    ),
}

RESTART = {
    "restart": Dimension(
        "messages leased before a restart",
        (push(), lease(), push("100")),
        {"first reserve": call(RESERVE, after=(DELETE,), restart=True)},
        {"first reserve": flat(3, cpu=5, why="docs/engine.md: it scans up to 2,000 entries, then halves what is left")},
    ),
    "restart, delayed": Dimension(
        "messages delayed before a restart",
        (push(more=", delay => '1 day'"), push("100")),
        {"first reserve": call(RESERVE, after=(DELETE,), restart=True)},
    ),
}

DIMENSIONS = STATES | QUEUES | PRIORITIES | GROUPS | SIZES | RIGHTS | CLOCKS | HELD | CACHES | SLEEPERS | RESTART
