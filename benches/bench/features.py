"""Scenario f: batches out of very many ordered groups, and counting very many messages."""

import statistics

from .engines import Pgqueue
from .measure import percentile, progress, size, time_of
from .server import Server

BATCH = 100

LOOKS = {
    "pgq_count": "SELECT pgq_count('many')",
    "pgq_stats": "SELECT * FROM pgq_stats('many')",
    "pgq_peek, ready": "SELECT id FROM pgq_peek('many', 10)",
    "pgq_peek, leased": "SELECT id FROM pgq_peek('many', 10, 'leased')",
    "pgq_peek, delayed": "SELECT id FROM pgq_peek('many', 10, 'delayed')",
    "pgq_stats, exact": "SELECT * FROM pgq_stats('many', exact => true)",
}


def measure():
    server = Server()
    with server.connect(prepare_threshold=1) as db:
        result = {"groups": groups(db), "looks": looks(db)}
    server.remove()
    return result


def groups(db):
    """Reserving and deleting a batch, from a queue with ten messages a group and from one without groups."""
    engine, many = Pgqueue(), size(1_000_000, 30_000)
    progress(f"features: {many} messages in {many // 10} groups")
    for queue in ("grouped", "plain"):
        engine.create(db, queue)
    engine.push_to_groups(db, "grouped", many, many // 10)
    engine.push(db, "plain", many)
    db.execute("VACUUM ANALYZE")
    times = {"grouped": [], "plain": []}
    for n in range(size(500, 50)):
        for queue, own in times.items():
            taken = []
            reserve = lambda: taken.extend(
                db.execute("SELECT id, delivery FROM pgq_reserve(%s, max => %s)", (queue, BATCH)).fetchall()
            )
            own.append(time_of(reserve))
            assert len(taken) == BATCH, f"{queue}: {len(taken)}"
            db.execute("SELECT count(*) FROM pgq_delete_batch(%s::bigint[])", ([id for id, _ in taken],))
    return {"many": many} | {
        queue: {"p50": statistics.median(own), "p99": percentile(own, 0.99)} for queue, own in times.items()
    }


def looks(db):
    """Milliseconds of looks at a queue with very many messages, some of them delayed and leased."""
    engine, many = Pgqueue(), size(10_000_000, 30_000)
    progress(f"features: {many} messages to count")
    engine.create(db, "many")
    engine.push(db, "many", many)
    engine.push(db, "many", 1_000, delay="1 day")
    engine.lease(db, "many", 1_000)
    result = {}
    for name, look in LOOKS.items():
        times = [time_of(lambda: db.execute(look).fetchall()) for _ in range(3 if "exact" in name else 20)]
        result[name] = statistics.median(times)
    return {"many": many, "times": result}
