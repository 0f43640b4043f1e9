"""Worker frameworks: the same number of jobs worked off, eight at a time, in a database of their own."""

import dataclasses
import pathlib
import statistics
import subprocess
import sys

from .measure import progress, size, spread
from .server import Server
from .versions import NODE, of_extension, of_npm, of_pypi

PEERS = pathlib.Path(__file__).parent.parent / "peers"


@dataclasses.dataclass
class Engine:
    """What is measured; `script` is its name in peers/jobs.*, `how` what it is told."""

    script: str
    package: str
    how: str


LANGUAGES = {
    "Node.js": {
        "pgqueue": Engine("pgqueue", "pgqueue", "Eight loops, each: reserve a message, delete it."),
        "pgqueue, batches of 100": Engine("pgqueue-batches", "pgqueue", "Eight loops, each: reserve up to 100 messages, delete them in one call."),
        "graphile-worker": Engine("graphile-worker", "graphile-worker", "Its runner, `concurrentJobs: 8`, `maxPoolSize: 10`; nothing else is set."),
        "graphile-worker, batching": Engine(
            "graphile-worker-batches",
            "graphile-worker",
            "The same with what [its page on performance](https://worker.graphile.org/docs/performance) sets: "
            "`localQueue: { size: 500 }`, `completeJobBatchDelay: 0`, `failJobBatchDelay: 0`.",
        ),
        "pg-boss": Engine("pg-boss", "pg-boss", "Eight loops, each: `fetch()` a job, `complete()` it. Its own worker would sleep between two single jobs."),
        "pg-boss, batches of 100": Engine(
            "pg-boss-batches",
            "pg-boss",
            "Its worker, `work()` with `batchSize: 100`, `localConcurrency: 8` and `burstWhenBatchFull`, which fetches again at once "
            "([workers](https://pgboss.io/api/workers)).",
        ),
    },
    "Python": {
        "pgqueue": Engine("pgqueue", "pgqueue", "As in Node.js, with psycopg."),
        "pgqueue, batches of 100": Engine("pgqueue-batches", "pgqueue", "As in Node.js, with psycopg."),
        "procrastinate": Engine(
            "procrastinate",
            "procrastinate",
            "Its asynchronous worker with psycopg, `concurrency=8`, `delete_jobs=\"always\"`. It fetches one job after the other and has no batches.",
        ),
        "pgqueuer": Engine(
            "pgqueuer",
            "pgqueuer",
            "Eight consumers in one process, each with a connection of psycopg, as in its own benchmark; `batch_size` 10, its default; "
            "its settings for autovacuum.",
        ),
        "pgqueuer, batches of 100": Engine(
            "pgqueuer-batches",
            "pgqueuer",
            "The same with a larger `batch_size`, as [its page on tuning](https://janbjorge.github.io/pgqueuer/guides/performance-tuning/) advises for short jobs.",
        ),
        "pgqueuer, batches of 100, asyncpg": Engine("pgqueuer-asyncpg-batches", "pgqueuer", "The same with asyncpg, the driver of its quick start."),
        "awa": Engine("awa", "awa-pg", "Its worker, with 8 slots; its engine and driver are in Rust, it claims and completes in batches by itself."),
        "awa, 50 at a time": Engine(
            "awa-50", "awa-pg", "The same with 50 slots, its default in Rust: a slot is taken until the completion is durable."
        ),
    },
}
BASES = {"ratio": "pgqueue", "batches": "pgqueue, batches of 100"}


def node(script, count):
    # Imports are looked for beside the script, so it has to lie beside node_modules.
    place = NODE.parent / "jobs.mjs"
    place.write_text((PEERS / "jobs.mjs").read_text())
    return [NODE / ".bin/node", place, script, count]


def python(script, count):
    return [sys.executable, PEERS / "jobs.py", script, count]


COMMANDS = {"Node.js": node, "Python": python}
DRIVERS = {"Node.js": lambda: f"Node.js {of_npm('node')}, pg {of_npm('pg')}", "Python": lambda: f"Python {sys.version.split()[0]}, psycopg {of_pypi('psycopg')}"}


def version(language, package):
    if package == "pgqueue":
        return of_extension(package)
    return of_npm(package) if language == "Node.js" else of_pypi(package)


def measure():
    server = Server()
    result = {language: of_language(server, language, engines) for language, engines in LANGUAGES.items()}
    server.remove()
    return result


def of_language(server, language, engines):
    count, rounds = size(10_000, 300), size(3, 1)
    runs = {name: [] for name in engines}
    for n in range(rounds):
        for name, engine in engines.items():
            progress(f"{language}: round {n + 1} of {rounds}, {name}")
            runs[name].append(jobs_per_second(server, COMMANDS[language](engine.script, count)))
    return {
        name: {
            "per_second": statistics.median(own),
            **{key: spread([ours / theirs for ours, theirs in zip(runs[base], own)]) for key, base in BASES.items()},
            "jobs": count,
            "driver": DRIVERS[language](),
            "version": version(language, engines[name].package),
            "how": engines[name].how,
        }
        for name, own in runs.items()
    }


def jobs_per_second(server, command):
    """In a new database, so that none pays for what another left."""
    server.run("CREATE DATABASE jobs")
    environment = {**server.environment, "PGDATABASE": "jobs"}
    run = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, timeout=600)
    server.run("DROP DATABASE jobs WITH (FORCE)")
    if run.returncode != 0:
        raise RuntimeError(f"{command}: {run.stderr[-2000:]}")
    return float(run.stdout.split()[-1])
