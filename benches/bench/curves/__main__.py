"""Measures the curves, prints them, and fails if a bound is broken or something has no curve.

usage: python -m bench.curves [DIMENSION …]

QUICK=1: small sizes, only costs that do not depend on the machine, results into a temporary directory.
With names of dimensions only those, and the others as they were measured last.
"""

import json
import pathlib
import sys
import tempfile
import time

from ..measure import QUICK
from ..report import machine
from ..server import Server
from . import report
from .coverage import missing
from .databases import SETTINGS, Account
from .growth import COUNTS
from .run import curves_of
from .table import DIMENSIONS


def main():
    chosen = sys.argv[1:] or list(DIMENSIONS)
    if unknown := set(chosen) - set(DIMENSIONS):
        sys.exit(f"unknown dimension {', '.join(sorted(unknown))}; there are {', '.join(DIMENSIONS)}")
    place = pathlib.Path(__file__).parent.parent.parent / "results"
    if QUICK:
        place = pathlib.Path(tempfile.mkdtemp(prefix="pgqueue-curves."))
    kept = place / "curves.json"
    results = json.loads(kept.read_text()) if kept.exists() and len(chosen) < len(DIMENSIONS) else {"dimensions": {}}
    results["machine"] = machine()
    server = Server(SETTINGS)
    account = Account(server)
    problems = missing(server)
    begun = time.monotonic()
    for name in chosen:
        dimension = DIMENSIONS[name]
        results["dimensions"][name] = {"sizes": dimension.quick if QUICK else dimension.sizes, "calls": curves_of(account, name, dimension)}
        kept.write_text(json.dumps(results, indent=1) + "\n")
    results["dimensions"] = {name: results["dimensions"][name] for name in DIMENSIONS if name in results["dimensions"]}
    results["minutes"] = (time.monotonic() - begun) / 60
    results["cpu_seconds"] = server.cpu() + time.process_time()
    server.remove()
    kept.write_text(json.dumps(results, indent=1) + "\n")
    conclude(results, place, problems)


def conclude(results, place, problems):
    kinds = COUNTS if QUICK else (*COUNTS, "cpu")
    rows, broken = report.lines(results, kinds)
    report.print_table(rows, with_cpu=not QUICK)
    (place / "curves.md").write_text(report.markdown(results, kinds))
    report.plot(results, kinds, place / "curves.svg")
    print(f"\n{len(rows)} curves in {results['minutes']:.1f} minutes, {results['cpu_seconds']:.0f} s of CPU: {place}/curves.md")
    for mark in report.no_longer_needed(results, kinds):
        print(f"within bounds now; take the mark out of known.py: {mark}")
    for text in problems + broken:
        print(f"BROKEN {text}")
    sys.exit(1 if problems or broken else 0)


main()
