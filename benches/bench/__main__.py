"""Runs the scenarios and writes report and plots.

usage: python -m bench [throughput flatness features keys limits capture wake frameworks sharding horizon topics]

Throughput has parts, measured one by one as throughput.cycles, throughput.batches, ….
"""

import json
import pathlib
import sys
import tempfile

from . import capture, features, flatness, frameworks, horizon, keys, limits, report, sharding, throughput, topics, wake
from .measure import QUICK
from .versions import of_extension

SCENARIOS = {
    "throughput": throughput,
    "flatness": flatness,
    "features": features,
    "keys": keys,
    "limits": limits,
    "capture": capture,
    "wake": wake,
    "frameworks": frameworks,
    "sharding": sharding,
    "horizon": horizon,
    "topics": topics,
}


def recorded(versions, choice):
    """The versions of other extensions that each choice was measured with, and now this one."""
    own = {name: of_extension(name.lower()) for name in getattr(SCENARIOS[choice.split(".")[0]], "EXTENSIONS", ())}
    others = {name: kept for name, kept in versions.items() if name != choice and not name.startswith(f"{choice}.")}
    return {**others, choice: own} if own else others


def main():
    chosen = sys.argv[1:] or list(SCENARIOS)
    known = [*SCENARIOS, *(f"throughput.{part}" for part in throughput.PARTS)]
    unknown = set(chosen) - set(known)
    if unknown:
        sys.exit(f"unknown scenario {', '.join(unknown)}; there are {', '.join(known)}")
    place = pathlib.Path(__file__).parent.parent / "results"
    if QUICK:
        place = pathlib.Path(tempfile.mkdtemp(prefix="pgqueue-bench."))
    place.mkdir(exist_ok=True)
    kept = place / "measured.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for choice in chosen:
        name, _, part = choice.partition(".")
        if part:
            results.setdefault(name, {}).update(SCENARIOS[name].measure(part))
        else:
            results[name] = SCENARIOS[name].measure()
        results["versions"] = recorded(results.get("versions", {}), choice)
        results["machine"] = report.machine()
        kept.write_text(json.dumps(results, indent=1, default=float) + "\n")
    report.write(results, place)
    print(f"\n{place}/report.md")


main()
