"""Scenario g: the same cycles and batches through a PL/Proxy database and on the partition itself."""

import os
import pathlib
import statistics
import subprocess

from .measure import percentile, pgbench, progress, size, spread
from .server import BIN, Server

SCRIPTS = pathlib.Path(__file__).parent.parent.parent / "sql/proxy"
PARTITIONS = 4

WORK = {
    "a cycle, 1 client": ("pgqueue_cycle", 1, 1),
    "a cycle, 8 clients": ("pgqueue_cycle", 8, 1),
    "a batch of 100, 8 clients": ("pgqueue_batch", 8, 100),
}


class Database:
    """One of a server's databases, as pgbench takes it."""

    def __init__(self, server, name):
        self.environment = {**server.environment, "PGDATABASE": name}

    def psql(self, *args, text=None):
        command = [BIN / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *args]
        run = subprocess.run([str(part) for part in command], env=self.environment, input=text, capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(run.stderr)
        return run.stdout.strip()


def set_up(server):
    """Partitions and their proxy, all on one server. Returns the proxy and the partition of the queue."""
    for n in range(PARTITIONS):
        server.run(f"CREATE DATABASE queues_{n}")
        partition = Database(server, f"queues_{n}")
        partition.psql("-c", "CREATE EXTENSION pgqueue")
        partition.psql("-v", f"partition={n}", "-f", SCRIPTS / "partition.sql")
    server.run("CREATE DATABASE queues")
    proxy = Database(server, "queues")
    formats = r"options=-cDateStyle=ISO\ -cIntervalStyle=postgres"
    places = ", ".join(f"p{n} 'host={server.place} dbname=queues_{n} {formats}'" for n in range(PARTITIONS))
    proxy.psql(
        text=f"""CREATE EXTENSION plproxy;
                 CREATE SERVER pgqueue FOREIGN DATA WRAPPER plproxy OPTIONS ({places});
                 CREATE USER MAPPING FOR CURRENT_USER SERVER pgqueue"""
    )
    proxy.psql("-f", SCRIPTS / "proxy.sql")
    proxy.psql("-c", """SELECT pgq_create_queue('bench', '{"max_deliveries": 0}')""")
    place = proxy.psql("-At", "-c", "SELECT substring(pgq_shard('bench') FROM 'dbname=([^ ]+)')")
    return proxy, Database(server, place)


def measure():
    server = Server()
    proxy, partition = set_up(server)
    count, seconds = size(7, 2), size(4, 1)
    load, work = [os.getloadavg()[0]], {}
    for what, (script, clients, messages) in WORK.items():
        runs = {"direct": [], "proxy": []}
        for n in range(count):
            for name, database in (("direct", partition), ("proxy", proxy)):
                progress(f"sharding, {what}: round {n + 1} of {count}, {name}")
                runs[name].append(pgbench(database, script, clients, seconds, {"size": 100}))
        work[what] = {
            name: {
                "per_second": statistics.median(run["tps"] for run in own) * messages,
                "cpu": statistics.median(run["cpu"] for run in own) / messages,
                "p50": percentile([latency for run in own for latency in run["latencies"]], 0.5),
            }
            for name, own in runs.items()
        }
        work[what]["ratio"] = spread([b["tps"] / a["tps"] for a, b in zip(runs["direct"], runs["proxy"])])
    server.remove()
    return {"work": work, "load": [*load, os.getloadavg()[0]]}
