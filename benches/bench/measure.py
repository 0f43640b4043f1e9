"""What all scenarios use: pgbench runs, medians, progress, sizes of the work."""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from .server import BIN

QUICK = bool(os.environ.get("QUICK"))
SCRIPTS = pathlib.Path(__file__).parent.parent / "script"


def size(full, quick):
    """How much of something is done: all of it, or what QUICK=1 does."""
    return quick if QUICK else full


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def busy():
    """Seconds of CPU that the machine has spent on anything."""
    fields = [int(n) for n in open("/proc/stat").readline().split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")


def cpu_of(db):
    """Microseconds of CPU that the backend of a connection has used."""
    return int(open(f"/proc/{db.info.backend_pid}/schedstat").read().split()[0]) / 1000


def pgbench_command(script, clients, seconds):
    command = [BIN / "pgbench", "-n", "-M", "prepared", "-c", clients, "-j", min(2, clients), "-T", seconds]
    return [str(part) for part in command + ["-f", SCRIPTS / f"{script}.sql"]]


def pgbench(server, script, clients, seconds, variables=None):
    """Runs a script and returns {tps, cpu: µs a transaction, latencies: ms, sorted}."""
    with tempfile.TemporaryDirectory() as place:
        command = pgbench_command(script, clients, seconds) + ["-l", "--sampling-rate=0.1", f"--log-prefix={place}/log"]
        for name, value in {"id": 0, "delivery": 0, **(variables or {})}.items():
            command += ["-D", f"{name}={value}"]
        before = busy()
        run = subprocess.run(command, env=server.environment, capture_output=True, text=True)
        spent = busy() - before
        if run.returncode != 0 or "aborted" in run.stderr:
            raise RuntimeError(f"{script}: {run.stderr[-2000:]}")
        tps = next(float(line.split()[2]) for line in run.stdout.splitlines() if line.startswith("tps"))
        latencies = sorted(
            int(line.split()[2]) / 1000 for log in pathlib.Path(place).iterdir() for line in log.open()
        )
    return {"tps": tps, "cpu": spent / (tps * seconds) * 1e6, "latencies": latencies}


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def spread(ratios):
    return {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def time_of(call):
    """Milliseconds that a call takes."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000
