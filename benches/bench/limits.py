"""Scenario l: what `max_leased` and `max_length` cost, against a queue without a limit."""

import statistics

from .loop import cpu_of, ratios
from .measure import progress, size
from .server import Server

QUEUES = {
    "none": "{}",
    "max_leased 1": '{"max_leased": 1}',
    "max_leased 100": '{"max_leased": 100}',
    "max_leased 1000": '{"max_leased": 1000}',
    "max_length, room": '{"max_length": 1000000000}',
    "max_length, full": '{"max_length": 100, "on_full": "drop_oldest"}',
}

CYCLE = """PERFORM pgq_push('{queue}', '1'); COMMIT;
           SELECT id, delivery INTO STRICT leased FROM pgq_reserve('{queue}'); COMMIT;
           PERFORM pgq_delete(leased.id, leased.delivery);"""
PUSH = "PERFORM pgq_push('{queue}', '1');"

ROUNDS = 15


def measure():
    server = Server()
    with server.connect() as db:
        db.execute("SET synchronous_commit = off")
        for queue, settings in QUEUES.items():
            db.execute("SELECT pgq_create_queue(%s, %s)", (queue, settings))
        cycles = {queue: CYCLE.format(queue=queue) for queue in QUEUES if not queue.startswith("max_length")}
        pushes = {queue: PUSH.format(queue=queue) for queue in QUEUES if not queue.startswith("max_leased")}
        step = size(1_000, 200)
        result = {
            "cycle": ratios(db, "limits, cycles", cycles, ROUNDS, step),
            "push": ratios(db, "limits, pushes", pushes, ROUNDS, step),
        }
        with server.pinned_horizon():
            result["held"] = held(db, cycles, step)
    server.remove()
    return result


def held(db, cycles, step):
    """The cycle beside a held snapshot, after many, as a multiple of its beginning. The queues take turns."""
    many = size(32_000, 2_000)
    costs = {queue: [] for queue in cycles}
    for n in range(0, many, step):
        progress(f"limits: {n:,} of {many:,} leases beside a held snapshot")
        for queue, body in cycles.items():
            costs[queue].append(cpu_of(db, body, step))
    result = {}
    for queue, own in costs.items():
        first, last = (statistics.median(part) for part in (own[:5], own[-5:]))
        result[queue] = {"many": many, "first": first, "last": last, "ratio": last / first}
    return result
