"""Scenarios a, b and f: push, reserve, delete, each its own transaction, against the peers."""

import statistics
import subprocess

from .engines import Bare, Pgmq, Pgqueue, Table
from .measure import pgbench, pgbench_command, percentile, progress, size, spread
from .server import Server

EXTENSIONS = ("pgmq",)

CYCLES = {
    "pgqueue": "pgqueue_cycle",
    "pgqueue, pgq_next": "pgqueue_next",
    "pgmq": "pgmq_cycle",
    "plain table": "table_cycle",
    "INSERT + DELETE by key": "bare_cycle",
}
BATCHES = {"pgqueue": "pgqueue_batch", "pgmq": "pgmq_batch", "plain table": "table_batch"}
# How a client deletes the batch that it reserved.
FORMS = {
    "in the statement that reserves": {"pgqueue": "pgqueue_batch", "pgmq": "pgmq_batch"},
    "in another, by the ids that the client got": {"pgqueue": "pgqueue_batch_fetched", "pgmq": "pgmq_batch_fetched"},
}


def measure(part=None):
    """All of it, or one part."""
    server = Server()
    for engine in (Pgqueue(), Pgmq(), Table(), Bare()):
        engine.set_up(server)
    result = {name: work(server) for name, work in PARTS.items() if part in (None, name)}
    server.remove()
    return result


def cycles(server):
    return {str(clients): rounds(server, CYCLES, clients, f"{clients} clients") for clients in (1, 8, 64)}


def batches(server):
    return {str(n): rounds(server, BATCHES, 8, f"batches of {n}", {"size": n}, messages=n) for n in (10, 100, 1000)}


def forms(server):
    """Batches of 100 in each form."""
    return {form: rounds(server, scripts, 8, f"batches of 100, {form}", {"size": 100}, messages=100) for form, scripts in FORMS.items()}


def minute(server):
    """Batches of 100 without pause for a minute: messages a second in each part of it, and the ratios."""
    names, count = ("pgqueue", "pgmq"), size(3, 1)
    runs = {name: [] for name in names}
    for n in range(count):
        for name in names:
            progress(f"throughput, a minute of batches: round {n + 1} of {count}, {name}")
            server.run("VACUUM")
            runs[name].append(course(server, BATCHES[name], size(60, 4), size(5, 1), {"size": 100}))
    courses = {name: [statistics.median(part) * 100 for part in zip(*own)] for name, own in runs.items()}
    ratios = [
        spread([ours / theirs for ours, theirs in zip(*part)])
        for part in zip(*(zip(*runs[name]) for name in names))
    ]
    return {"every": size(5, 1), **courses, "ratios": ratios}


def course(server, script, seconds, every, variables):
    """Transactions a second of eight clients, in each so many seconds."""
    command = pgbench_command(script, 8, seconds) + ["-P", str(every)]
    for name, value in variables.items():
        command += ["-D", f"{name}={value}"]
    run = subprocess.run(command, env=server.environment, capture_output=True, text=True)
    if run.returncode != 0 or "aborted" in run.stderr:
        raise RuntimeError(f"{script}: {run.stderr[-2000:]}")
    parts = [float(line.split()[3]) for line in run.stderr.splitlines() if line.startswith("progress:")]
    return parts[: seconds // every]


def rounds(server, scripts, clients, what, variables=None, messages=1):
    """Runs scripts in turn, A B C A B C, each after a VACUUM, and returns medians and ratios to pgqueue's."""
    runs = {name: [] for name in scripts}
    count, seconds = size(7, 2), size(4, 1)
    for n in range(count):
        for name, script in scripts.items():
            progress(f"throughput, {what}: round {n + 1} of {count}, {name}")
            server.run("VACUUM")
            runs[name].append(pgbench(server, script, clients, seconds, variables))
    result = {}
    for name, own in runs.items():
        latencies = [latency for run in own for latency in run["latencies"]]
        result[name] = {
            "per_second": statistics.median(run["tps"] for run in own) * messages,
            "cpu": statistics.median(run["cpu"] for run in own) / messages,
            "ratio": spread([ours["tps"] / run["tps"] for ours, run in zip(runs["pgqueue"], own)]),
            "p50": percentile(latencies, 0.5),
            "p95": percentile(latencies, 0.95),
            "p99": percentile(latencies, 0.99),
        }
    return result


def crowd(server):
    """64 consumers against 8, in turn."""
    ratios = []
    for n in range(size(7, 2)):
        progress(f"throughput, 64 clients against 8: round {n + 1}")
        few, many = (pgbench(server, "pgqueue_cycle", clients, size(4, 1))["tps"] for clients in (8, 64))
        ratios.append(many / few)
    return spread(ratios)


def wal(server):
    """Bytes of WAL for the life of a message, without full page images."""
    server.run("ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()")
    result = {}
    singles = {name: (script, 1) for name, script in CYCLES.items() if name != "pgqueue, pgq_next"}
    batches = {f"{name}, batches of 100": (script, 100) for name, script in BATCHES.items()}
    for name, (script, messages) in {**singles, **batches}.items():
        progress(f"WAL of a message: {name}")
        pgbench(server, script, 1, 1, {"size": messages})
        before = server.one("SELECT pg_current_wal_insert_lsn() - '0/0'")
        seconds = size(5, 2)
        run = pgbench(server, script, 8, seconds, {"size": messages})
        written = server.one("SELECT pg_current_wal_insert_lsn() - '0/0'") - before
        result[name] = float(written) / (run["tps"] * seconds * messages)
    server.run("ALTER SYSTEM RESET full_page_writes", "SELECT pg_reload_conf()")
    return result


def many_queues(server):
    """A reserve in a database with 100,000 queues against one with few, in turn."""
    few = Server()
    few.run("SELECT pgq_create_queue('many ' || n) FROM generate_series(1, 10) n")
    progress("making 100,000 queues")
    server.run("SELECT pgq_create_queue('many ' || n) FROM generate_series(1, 100000) n")
    ratios = {"the same queue": [], "another queue each time": []}
    for n in range(size(7, 2)):
        progress(f"a reserve among 100,000 queues: round {n + 1}")
        seconds = size(3, 1)
        base = pgbench(few, "one_queue", 2, seconds)["tps"]
        ratios["the same queue"].append(base / pgbench(server, "one_queue", 2, seconds)["tps"])
        ratios["another queue each time"].append(base / pgbench(server, "one_of_many_queues", 2, seconds)["tps"])
    few.remove()
    return {name: spread(own) for name, own in ratios.items()}


def limits(server):
    """What the server can do at all."""
    seconds = size(5, 1)
    progress("limits")
    one = pgbench(server, "select_1", 8, seconds)
    with server.connect() as db:
        db.execute("CREATE TABLE copied (id bigserial PRIMARY KEY, payload jsonb)")
        count = size(500_000, 50_000)
        before = db.execute("SELECT clock_timestamp()").fetchone()[0]
        with db.cursor().copy("COPY copied (payload) FROM STDIN") as copy:
            for _ in range(count):
                copy.write('{"n": 1}\n')
        after = db.execute("SELECT clock_timestamp()").fetchone()[0]
    return {
        "SELECT 1, 8 clients": one["tps"],
        "COPY, rows": count / (after - before).total_seconds(),
    }


PARTS = {
    "cycles": cycles,
    "batches": batches,
    "forms": forms,
    "minute": minute,
    "crowd": crowd,
    "wal": wal,
    "many_queues": many_queues,
    "limits": limits,
}
