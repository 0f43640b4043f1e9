"""Scenario d: throughput while an old transaction holds back every vacuum."""

import subprocess
import time

from .engines import Pgmq, Pgq, Pgqueue
from .measure import pgbench, pgbench_command, progress, size
from .server import Server

EXTENSIONS = ("pgmq", "PgQ")

SLOT = 15  # seconds; a point of the plot


def measure():
    pinned, free = Server(), Server()
    for engine in (Pgqueue(), Pgmq(), Pgq()):
        engine.set_up(pinned)
    Pgqueue().set_up(free)
    ticker = start_ticker(pinned)
    points = []
    with pinned.pinned_horizon():
        begun = time.monotonic()
        for n in range(size(600, 30) // SLOT):
            progress(f"pinned horizon: {n * SLOT} s")
            points.append(slot(pinned, free) | {"at": time.monotonic() - begun})
            time.sleep(max(0, begun + (n + 1) * SLOT - time.monotonic()))
    ticker.terminate()
    ticker.wait()
    pinned.remove()
    free.remove()
    return points


def slot(pinned, free):
    """Each in turn for a few seconds."""
    return {
        "free": pgbench(free, "pgqueue_cycle", 8, 3)["tps"],
        "pgqueue": pgbench(pinned, "pgqueue_cycle", 8, 3)["tps"],
        "pgmq": pgbench(pinned, "pgmq_cycle", 8, 3)["tps"],
        "PgQ": pgq(pinned, 3),
        "sizes": {
            "pgqueue": pinned.one("SELECT pg_total_relation_size('pgqueue.message')"),
            "pgmq": pinned.one("SELECT pg_total_relation_size('pgmq.q_bench')"),
            "PgQ": pinned.one("SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname ~ '^event_' AND relkind = 'r'"),
        },
    }


def start_ticker(server):
    """PgQ's ticker, which rotates its tables as well."""
    config = server.place / "pgqd.ini"
    config.write_text(
        f"[pgqd]\nbase_connstr = host={server.place} user=postgres\ninitial_database = postgres\n"
        f"database_list = postgres\nticker_period = 0.05\nlogfile = {server.place}/pgqd.log\n"
    )
    return subprocess.Popen(["pgqd", "-q", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def pgq(server, seconds):
    """Events pushed a second by seven producers, while the one consumer that PgQ gives a queue keeps up."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    consumer = subprocess.Popen(pgbench_command("pgq_consume", 1, seconds), env=server.environment, **quiet)
    pushed = pgbench(server, "pgq_push", 7, seconds)["tps"]
    consumer.wait()
    return pushed
