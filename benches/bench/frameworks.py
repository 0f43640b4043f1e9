"""Worker frameworks: the same number of jobs worked off, eight at a time, by the same driver."""

import os
import pathlib
import statistics
import subprocess
import sys

from .measure import progress, size, spread
from .server import Server

PEERS = pathlib.Path(__file__).parent.parent / "peers"
NODE = pathlib.Path(os.environ["PGQUEUE_PREFIX"]) / "bench/node_modules"


def node(engine, count):
    # Imports are looked for beside the script, so it has to lie beside node_modules.
    script = NODE.parent / "jobs.mjs"
    script.write_text((PEERS / "jobs.mjs").read_text())
    return [NODE / ".bin/node", script, engine, count]


def python(engine, count):
    return [sys.executable, PEERS / "jobs.py", engine, count]


ENGINES = {
    "Node.js": (node, ("pgqueue", "graphile-worker", "pg-boss")),
    "Python": (python, ("pgqueue", "procrastinate")),
}


def measure():
    count, rounds = size(5_000, 300), size(7, 1)
    result = {}
    for language, (command, engines) in ENGINES.items():
        server = Server()
        runs = {engine: [] for engine in engines}
        for n in range(rounds):
            for engine in engines:
                progress(f"{language}: round {n + 1} of {rounds}, {engine}")
                runs[engine].append(jobs_per_second(server, command(engine, count)))
        result[language] = {
            engine: {
                "per_second": statistics.median(own),
                "ratio": spread([ours / theirs for ours, theirs in zip(runs["pgqueue"], own)]),
            }
            for engine, own in runs.items()
        }
        server.remove()
    return result


def jobs_per_second(server, command):
    run = subprocess.run([str(part) for part in command], env=server.environment, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"{command}: {run.stderr[-2000:]}")
    return float(run.stdout.split()[-1])
