"""Scenario k: what unique keys cost, against messages without one; and a key that is pushed without pause."""

import statistics
import subprocess
import time

from .loop import ratios
from .measure import pgbench, pgbench_command, percentile, progress, size, spread
from .server import Server

PUSHES = {
    "no key": "PERFORM pgq_push('plain', '1');",
    "a new key": "PERFORM pgq_push('keyed', '1', dedup_key => 'k' || n);",
    "a key that waits, ignored": "PERFORM pgq_push('same', '1', dedup_key => 'k');",
    "a key that waits, replaced": "PERFORM pgq_push('same', '1', dedup_key => 'k', on_duplicate => 'replace');",
}

CYCLE = """PERFORM pgq_push('{queue}', '1'{key});
           SELECT id, delivery INTO STRICT leased FROM pgq_reserve('{queue}');
           PERFORM pgq_delete(leased.id, leased.delivery);"""
CYCLES = {
    "no key": CYCLE.format(queue="plain", key=""),
    "a new key": CYCLE.format(queue="keyed", key=", dedup_key => 'k' || n"),
    "one key": CYCLE.format(queue="same", key=", dedup_key => 'k'"),
}

PRODUCERS = 64


def measure():
    server = Server()
    server.run(*(f"SELECT pgq_create_queue('{queue}')" for queue in ("plain", "keyed", "same", "hot")))
    with server.connect() as db:
        db.execute("SET synchronous_commit = off")
        purge = lambda: [db.execute("SELECT pgq_purge(%s)", (queue,)) for queue in ("plain", "keyed", "same")]
        rounds, times = size(15, 3), size(1_000, 200)
        result = {
            "push": ratios(db, "keys, pushes", PUSHES, rounds, times, purge),
            "cycle": ratios(db, "keys, cycles", CYCLES, rounds, times),
        }
    result["clients"] = clients(server)
    result["hot"] = hot(server)
    result["held"] = held(server)
    server.remove()
    return result


def clients(server):
    """Pushes of eight clients in transactions of their own, different keys against none."""
    plain, keyed = [], []
    for n in range(size(7, 2)):
        progress(f"keys: eight clients, round {n + 1}")
        plain.append(pgbench(server, "plain_push", 8, size(5, 1))["tps"])
        keyed.append(pgbench(server, "keyed_push", 8, size(5, 1))["tps"])
        server.run("SELECT pgq_purge('plain'), pgq_purge('keyed')")
    return {"tps": statistics.median(keyed), "ratio": spread([a / b for a, b in zip(plain, keyed)])}


def hot(server):
    """One key, pushed by many without pause; one consumer."""
    progress(f"keys: {PRODUCERS} producers of one key")
    server.run("CHECKPOINT")
    members = lambda: int(server.one("SELECT next_multixact_id::text FROM pg_control_checkpoint()"))
    before, seconds = members(), size(30, 5)
    command = pgbench_command("one_key_push", PRODUCERS, seconds)
    producers = subprocess.Popen(command, env=server.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    waits = consume(server, producers)
    tps = next(float(line.split()[2]) for line in producers.stdout if line.startswith("tps"))
    server.run("CHECKPOINT")
    return {
        "producers": PRODUCERS,
        "pushes": tps,
        "deliveries": len(waits) / seconds,
        "median": statistics.median(waits),
        "longest": max(waits),
        "p99": percentile(waits, 0.99),
        "multixacts": members() - before,
    }


def consume(server, producers):
    """Milliseconds from one delivery to the next, until the producers end. A change waits for that long at most."""
    waits = []
    with server.connect() as db:
        last = None
        while producers.poll() is None:
            taken = db.execute("SELECT id, delivery FROM pgq_reserve('hot')").fetchall()
            for receipt in taken:
                now = time.perf_counter()
                if last is not None:
                    waits.append((now - last) * 1000)
                last = now
                db.execute("SELECT pgq_delete(%s::bigint, %s::integer)", receipt)
    return waits


def held(server):
    """Blocks that a cycle of one key touches beside a held snapshot, after many, as a multiple of its beginning."""
    many = size(5_000, 500)
    blocks = """SELECT heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read FROM pg_statio_all_tables
                 WHERE relid = 'pgqueue.message'::regclass"""

    def cost(db, times):
        before = server.one(blocks)
        for _ in range(times):
            db.execute("SELECT pgq_push('same', '1', dedup_key => 'k')")
            receipt = db.execute("SELECT id, delivery FROM pgq_reserve('same')").fetchone()
            db.execute("SELECT pgq_delete(%s::bigint, %s::integer)", receipt)
        db.execute("SELECT pg_stat_force_next_flush()")
        return (server.one(blocks) - before) / times

    with server.connect() as db, server.pinned_horizon():
        progress(f"keys: {many} cycles beside a held snapshot")
        db.execute("SELECT pgq_purge('same')")
        cost(db, 10)
        first = cost(db, 100)
        cost(db, many)
        last = cost(db, 100)
    return {"many": many, "first": first, "last": last, "ratio": last / first}
