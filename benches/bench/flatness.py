"""Scenario c: what one reserve costs, whatever lies in the table."""

import statistics

from .engines import Pgmq, Pgqueue
from .measure import percentile, progress, size, time_of
from .server import Server

EXTENSIONS = ("pgmq",)

READY = 1_000  # ready in every state, so that there is something to reserve
WARM_UP = 10


def measure():
    many = size(1_000_000, 30_000)
    return {
        "many": many,
        "pgqueue": of(Pgqueue(), many, calls=size(2_000, 200)),
        "pgmq": of(Pgmq(), many, calls=size(50, 10)),
    }


def of(engine, many, calls):
    server = Server()
    if engine.name != "pgqueue":
        engine.set_up(server)
    states = {
        "fresh": lambda db, queue: None,
        "ready": lambda db, queue: engine.push(db, queue, many),
        "delayed": lambda db, queue: engine.push(db, queue, many, delay="1 day"),
        "in_flight": lambda db, queue: (engine.push(db, queue, many), engine.lease(db, queue, many)),
    }
    if engine.name == "pgqueue":
        states["one_group"] = lambda db, queue: (engine.push(db, queue, many // 10, group="one"), engine.lease(db, queue, 1))
    with server.connect() as db:
        for state, fill in states.items():
            progress(f"flatness: {engine.name}, filling '{state}'")
            engine.create(db, state)
            fill(db, state)
            engine.push(db, state, READY)
        db.execute("VACUUM ANALYZE")
        result = {"steady": latencies(server, engine, {state: state for state in states}, calls)}
        result["after_restart"] = first_calls(server, engine, states, "fast")
        result["after_crash"] = first_calls(server, engine, states, "immediate")
    result["pinned"] = pinned(server, engine, calls)
    server.remove()
    return result


def latencies(server, engine, queues, calls):
    """Calls queue after queue, so that all have the same weather; `queues` by state."""
    times = {state: [] for state in queues}
    with server.connect(prepare_threshold=1) as db:
        for n in range(calls + WARM_UP):
            if n % 100 == 0:
                progress(f"flatness: {engine.name}, {n} of {calls} calls")
            for state, queue in queues.items():
                taken = []
                call = lambda: taken.extend(db.execute(engine.reserve, {"queue": queue}).fetchall())
                took = time_of(call)
                assert len(taken) == 1, f"{engine.name}, {state}: {taken}"
                if n >= WARM_UP:
                    times[state].append(took)
                db.execute(engine.delete, {"queue": queue, "id": taken[0][0]})
                engine.push(db, queue, 1)
    fresh = statistics.median(times["fresh"])
    return {state: summary(own, fresh) for state, own in times.items()}


def summary(times, fresh):
    median = statistics.median(times)
    return {"p50": median, "p99": percentile(times, 0.99), "ratio": median / fresh}


def first_calls(server, engine, states, mode):
    """Milliseconds of the very first reserve after the server starts again."""
    result = {}
    for state in states:
        progress(f"flatness: {engine.name}, first call after a {mode} stop, '{state}'")
        server.stop(mode)
        server.start()
        with server.connect() as db:
            # What any first call of a session does is done on another queue.
            db.execute(engine.reserve, {"queue": "nothing" if engine.name == "pgqueue" else "bench"})
            result[state] = time_of(lambda: db.execute(engine.reserve, {"queue": state}).fetchall())
    return result


def pinned(server, engine, calls):
    """200,000 messages consumed while an old transaction holds back every vacuum."""
    count = size(200_000, 20_000)
    progress(f"flatness: {engine.name}, {count} consumed under a pinned horizon")
    with server.connect() as db, server.pinned_horizon():
        engine.create(db, "used")
        engine.create(db, "unused")
        engine.push(db, "used", count)
        engine.consume(db, "used", count)
        for queue in ("used", "unused"):
            engine.push(db, queue, READY)
        return latencies(server, engine, {"fresh": "unused", "consumed": "used"}, calls)
