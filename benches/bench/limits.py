"""Scenario l: what `max_leased` and `max_length` cost, against a queue without a limit.

CPU of one backend, from the kernel's own account, in loops of PL/pgSQL that commit each time. The queues
take turns, and the median of the rounds' ratios counts.
"""

import statistics

from .measure import progress, size, spread
from .server import Server

QUEUES = {
    "none": "{}",
    "max_leased 1": '{"max_leased": 1}',
    "max_leased 100": '{"max_leased": 100}',
    "max_leased 1000": '{"max_leased": 1000}',
    "max_length, room": '{"max_length": 1000000000}',
    "max_length, full": '{"max_length": 100, "on_full": "drop_oldest"}',
}

CYCLE = """PERFORM pgq_push('{queue}', '1');
           SELECT id, delivery INTO STRICT leased FROM pgq_reserve('{queue}');
           PERFORM pgq_delete(leased.id, leased.delivery);"""
PUSH = "PERFORM pgq_push('{queue}', '1');"

ROUNDS = 15


def measure():
    server = Server()
    with server.connect() as db:
        db.execute("SET synchronous_commit = off")
        for queue, settings in QUEUES.items():
            db.execute("SELECT pgq_create_queue(%s, %s)", (queue, settings))
        cycles = [queue for queue in QUEUES if not queue.startswith("max_length")]
        pushes = [queue for queue in QUEUES if not queue.startswith("max_leased")]
        result = {"cycle": ratios(db, CYCLE, cycles), "push": ratios(db, PUSH, pushes)}
        with server.pinned_horizon():
            result["held"] = held(db, cycles)
    server.remove()
    return result


def ratios(db, body, queues):
    """CPU of each queue as a multiple of the first one's."""
    times = {queue: [] for queue in queues}
    for n in range(-1, ROUNDS):
        progress(f"limits: round {n + 1} of {ROUNDS}")
        for queue, own in times.items():
            took = cpu_of(db, body, queue, size(1_000, 200))
            if n >= 0:
                own.append(took)
    first = times[queues[0]]
    return {
        queue: {"cpu": statistics.median(own), "ratio": spread([mine / none for mine, none in zip(own, first)])}
        for queue, own in times.items()
    }


def held(db, queues):
    """The cycle beside a held snapshot, after many, as a multiple of its beginning."""
    many, step = size(32_000, 2_000), size(1_000, 200)
    result = {}
    for queue in queues:
        progress(f"limits: {many} leases beside a held snapshot, {queue}")
        costs = [cpu_of(db, CYCLE, queue, step) for _ in range(many // step)]
        first, last = (statistics.median(part) for part in (costs[:5], costs[-5:]))
        result[queue] = {"many": many, "first": first, "last": last, "ratio": last / first}
    return result


def cpu_of(db, body, queue, times):
    """Microseconds of the backend's CPU for one time."""
    account = f"/proc/{db.info.backend_pid}/schedstat"
    nanoseconds = lambda: int(open(account).read().split()[0])
    before = nanoseconds()
    db.execute(
        f"DO $$ DECLARE leased record; BEGIN FOR n IN 1..{times} LOOP {body.format(queue=queue)} COMMIT; END LOOP; END $$"
    )
    return (nanoseconds() - before) / times / 1000
