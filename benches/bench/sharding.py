"""Scenario g: the same cycles and batches through a PL/Proxy database and on the partition itself.

Cycles also run through bare functions of PL/Proxy, with the same parameters: the least that a proxy costs.
"""

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
    partition = Database(server, place)
    return {"direct": partition, "bare": bare_proxy(server, partition, place, formats), "proxy": proxy}


# Functions of PL/Proxy alone, made from those of the partition. The hash functions are in C.
BARE = """
    SELECT format('CREATE TYPE pgq_message AS (%s);', string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum))
      FROM pg_attribute WHERE attrelid = 'pgq_message'::regclass
     UNION ALL
    SELECT format('CREATE FUNCTION %I(%s) RETURNS %s LANGUAGE plproxy AS %L;', proname, pg_get_function_arguments(oid), pg_get_function_result(oid),
                  format('CLUSTER ''pgqueue''; RUN ON %s;', CASE proargnames[1] WHEN 'queue' THEN 'hashtext(queue)' ELSE 'hashint8(id)' END))
      FROM pg_proc WHERE proname IN ('pgq_push', 'pgq_reserve', 'pgq_delete')
"""


def bare_proxy(server, partition, place, formats):
    """A proxy of one partition, without functions of our own."""
    server.run("CREATE DATABASE bare")
    bare = Database(server, "bare")
    bare.psql(
        text=f"""CREATE EXTENSION plproxy;
                 CREATE SERVER pgqueue FOREIGN DATA WRAPPER plproxy OPTIONS (p0 'host={server.place} dbname={place} {formats}');
                 CREATE USER MAPPING FOR CURRENT_USER SERVER pgqueue"""
    )
    bare.psql(text=partition.psql("-At", "-c", BARE))
    return bare


def measure():
    server = Server()
    databases = set_up(server)
    count, seconds = size(7, 2), size(4, 1)
    load, work = [os.getloadavg()[0]], {}
    for what, (script, clients, messages) in WORK.items():
        is_cycle = script == "pgqueue_cycle"
        runs = {name: [] for name in databases if is_cycle or name != "bare"}
        for n in range(count):
            for name in runs:
                progress(f"sharding, {what}: round {n + 1} of {count}, {name}")
                runs[name].append(pgbench(databases[name], script, clients, seconds, {"size": 100}))
        work[what] = {
            name: {
                "per_second": statistics.median(run["tps"] for run in own) * messages,
                "cpu": statistics.median(run["cpu"] for run in own) / messages,
                "p50": percentile([latency for run in own for latency in run["latencies"]], 0.5),
            }
            for name, own in runs.items()
        }
        for name, key in (("direct", "ratio"), ("bare", "ratio_to_bare")):
            pairs = zip(runs.get(name, []), runs["proxy"])
            if ratios := [b["tps"] / a["tps"] for a, b in pairs]:
                work[what][key] = spread(ratios)
    server.remove()
    return {"work": work, "load": [*load, os.getloadavg()[0]]}
