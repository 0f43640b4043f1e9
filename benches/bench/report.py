"""The Markdown report and the plots."""

import os
import platform
import statistics
import subprocess

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "pgqueue", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
from matplotlib import pyplot  # noqa: E402

from .measure import QUICK  # noqa: E402
from .server import BIN, SETTINGS  # noqa: E402

COLOURS = {"pgqueue": "#2a6f97", "pgmq": "#c1666b", "PgQ": "#7a9e7e", "plain table": "#999999", "free": "#bbbbbb"}

STATES = {
    "fresh": "1,000 ready, nothing else (fresh)",
    "ready": "{many:,} ready",
    "delayed": "{many:,} delayed",
    "in_flight": "{many:,} in flight",
    "one_group": "{group:,} waiting in one group",
}

WHY_NOT_MORE = """Why a single cycle does not come out further ahead: it is three round trips and two waits for the disk, whatever the
queue does. In a profile of a session that does nothing but reserve (`perf`, one client, 500,000 ready, commits not waiting), `pgq_reserve`
itself is 8 % of the backend's time and the commit 5 %; the protocol, the executor's start and the kernel have the
rest. A `SELECT 1` put between the INSERT and the DELETE by key takes those to 0.83 to 0.91 of their throughput (8
clients, three rounds). One round trip less (`pgq_next`), more clients, or batches show more of the difference."""

CURVES = """## How costs grow

What each function and each step of a round costs while one thing grows: `make curves` measures that, and fails if a bound is broken.
[curves.md](curves.md) has the figures. A line is a function; a flat line costs the same at every size.

![curves](curves.svg)"""

METHOD = """## Method

Everything runs on one private server with `fsync` on, and on one machine that others use too. So no absolute number
counts for much: what is compared runs in turn, A B C A B C, on the same server, and the median of the rounds' ratios
is given with the smallest and the largest. Clients are `pgbench -M prepared` on a Unix socket, except for waking and
for the frameworks, which are asked through a driver. CPU is that of the whole machine, client included. The
database is vacuumed before each run of cycles and batches: what a run pays for are the dead rows that it makes itself.

**A cycle** is a push, a reserve of one message and its delete, three statements, each a transaction of its own (with
`pgq_next`: a push, and a call that deletes the last message and reserves the next). pgmq does the same with `send`,
`read`, `delete`; the plain table with INSERT, an UPDATE of the first visible row with SKIP LOCKED, DELETE. INSERT +
DELETE by key is no queue at all, only the writes no queue can do without.

**What is comparable and what is not.** pgqueue and pgmq promise nearly the same for a cycle; pgqueue also checks
rights, counts deliveries and fences receipts, pgmq also counts reads. A transaction of pgqueue that only leases does
not wait for the disk (`durable_lease` makes it); pgmq's read does. PgQ hands out batches between ticks to one
consumer and has no leases: its figures are events pushed a second while a consumer keeps up.

**The frameworks** bring features that pgqueue leaves to others. Each is set as its own documentation advises, which the
table's notes name, and works off the same jobs in one process: in a new database, vacuumed and analyzed after the jobs
were pushed, from when work begins until none is left that is not done. pg-boss and awa keep jobs that are done;
the others delete them, as pgqueue does. Engines that fetch or complete many jobs at once are to be compared with
pgqueue's batches: then jobs wait for each other, and a worker that dies leaves more of them to be done again. All
in Python run on uvloop. River (Go) and Oban (Elixir) are not measured.

**Our bias.** We wrote one of these. Payloads are small, one queue is busy, consumers do no work, and the server has
two cores of which the clients take their part: all of which makes the queue's own cost as visible as it gets. With
real work and real payloads the differences are smaller. `benches/` has everything: run it where you will run it.
"""


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    version = subprocess.run([str(BIN / "postgres"), "--version"], capture_output=True, text=True).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    settings = [line for line in SETTINGS.splitlines() if line and not line.startswith(("listen", "shared_preload"))]
    return {
        "text": f"{version}; {os.cpu_count()} cores ({cpu}), {memory:.0f} GiB, Linux {platform.release()}",
        "settings": ", ".join(f"`{line.strip()}`" for line in settings),
    }


def write(results, place):
    sections = {
        "throughput": throughput,
        "flatness": flatness,
        "features": features,
        "keys": keys,
        "limits": limits,
        "capture": capture,
        "horizon": horizon,
        "wake": wake,
        "frameworks": frameworks,
        "sharding": sharding,
        "topics": topics,
    }
    parts = ["# What pgqueue costs, beside its peers", results["machine"]["text"] + "; " + results["machine"]["settings"] + "."]
    if QUICK:
        parts.append("**A quick run, to see that everything works. Its figures mean nothing.**")
    parts += [summary(results), versions(results.get("versions", {}), results)]
    parts += [section(results[name], place) for name, section in sections.items() if name in results]
    parts += [CURVES, METHOD]
    (place / "report.md").write_text("\n\n".join(part.strip() for part in parts if part) + "\n")


def ratio(spread, digits=2):
    return f"{spread['median']:.{digits}f} ({spread['low']:.{digits}f} to {spread['high']:.{digits}f})"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def save(figure, place, name):
    figure.tight_layout()
    figure.savefig(place / name, metadata={"Date": None})
    pyplot.close(figure)


def summary(results):
    """The figures we set out for, and what came."""
    rows = []

    def row(what, bar, value, text, at_least=True):
        met = value >= bar[0] if at_least else value <= bar[0]
        rows.append([what, bar[1], text, "yes" if met else "**no**"])

    run = results.get("throughput", {})
    if "cycles" in run:
        eight = run["cycles"]["8"]
        to_bare = eight["INSERT + DELETE by key"]["ratio"]
        row("single cycle, 8 clients, against pgmq", (2.5, "≥ 2.5"), eight["pgmq"]["ratio"]["median"], ratio(eight["pgmq"]["ratio"]))
        row("the same against INSERT + DELETE by key", (0.7, "≥ 0.7"), to_bare["median"], ratio(to_bare))
    if "batches" in run:
        hundred = run["batches"]["100"]["pgmq"]["ratio"]
        row("batches of 100, 8 clients, against pgmq, its table just vacuumed", (3, "≥ 3"), hundred["median"], ratio(hundred))
    if "minute" in run:
        last = run["minute"]["ratios"][-1]
        row("the same at the end of a minute without pause", (3, "≥ 3"), last["median"], ratio(last))
    if "crowd" in run:
        row("64 consumers against 8", (0.9, "≥ 0.9"), run["crowd"]["median"], ratio(run["crowd"]))
    if "wal" in run:
        bytes_ = run["wal"]["pgqueue, batches of 100"]
        row("WAL for a message's life, batches", (500, "≤ 500 bytes"), bytes_, f"{bytes_:.0f} bytes", at_least=False)
    if "many_queues" in run:
        many = run["many_queues"]["the same queue"]
        row("reserve in a database with 100,000 queues, against one with 10", (1.2, "≤ 1.2"), many["median"], ratio(many), at_least=False)
    if "flatness" in results:
        own = results["flatness"]["pgqueue"]
        states = {**own["steady"], "consumed": own["pinned"]["consumed"]}
        worst = max(states, key=lambda state: states[state]["ratio"])
        row("reserve(1) in each state, against a fresh queue", (1.5, "≤ 1.5"), states[worst]["ratio"], f"{states[worst]['ratio']:.2f} at worst ({worst.replace('_', ' ')})", at_least=False)
        first = own["after_restart"]["in_flight"]
        row("first reserve after a restart, many in flight", (50, "≤ 50 ms"), first, f"{first:.1f} ms", at_least=False)
    if "features" in results:
        groups, looks = results["features"]["groups"], results["features"]["looks"]["times"]
        row("reserve(100) out of 100,000 groups", (5, "≤ 5 ms"), groups["grouped"]["p50"], f"{groups['grouped']['p50']:.2f} ms", at_least=False)
        slowest = max(looks["pgq_count"], looks["pgq_stats"])
        row("pgq_count and pgq_stats with ten million messages", (10, "≤ 10 ms"), slowest, f"{slowest:.2f} ms", at_least=False)
    if "keys" in results:
        run = results["keys"]
        for name, own, bar in (
            ("push of a new key, 8 clients, against a push without", run["clients"]["ratio"], 1.6),
            ("the same, CPU in one session's loop", run["push"]["a new key"]["ratio"], 2.5),
            ("ignored push, CPU in a loop", run["push"]["a key that waits, ignored"]["ratio"], 2.5),
        ):
            row(name, (bar, f"≤ {bar}"), own["median"], ratio(own), at_least=False)
        hot, held = run["hot"], run["held"]
        row(f"one key, {hot['producers']} producers without pause: longest wait for its delivery", (1_000, "≤ 1 s"), hot["longest"], f"{hot['longest']:.0f} ms", at_least=False)
        row("multixacts they made", (0, "none"), hot["multixacts"], hot["multixacts"], at_least=False)
        row(f"cycle of one key beside a held snapshot, blocks after {held['many']:,}", (1.5, "≤ 1.5"), held["ratio"], f"{held['ratio']:.2f}", at_least=False)
    if "limits" in results:
        cycle, held, push = (results["limits"][part] for part in ("cycle", "held", "push"))
        hundred, room = cycle["max_leased 100"]["ratio"], push["max_length, room"]["ratio"]
        row("CPU of a cycle with `max_leased` 100, against none", (1.6, "≤ 1.6"), hundred["median"], ratio(hundred), at_least=False)
        after = held["max_leased 100"]
        row(f"the same after {after['many']:,} leases beside a held snapshot, against its beginning", (1.2, "≤ 1.2"), after["ratio"], f"{after['ratio']:.2f}", at_least=False)
        row("CPU of a push into a queue with `max_length`, against none", (1.5, "≤ 1.5"), room["median"], ratio(room), at_least=False)
    if "horizon" in results:
        points = results["horizon"]
        ratios = [point["pgqueue"] / point["free"] for point in points]
        median = statistics.median(ratios)
        row("throughput under a pinned horizon, against none", (0.95, "≥ 0.95"), median, f"{median:.2f} (points {min(ratios):.2f} to {max(ratios):.2f})")
    if "wake" in results:
        worst = max(results["wake"][f"pgqueue, {n}"]["p95"] for n in (1, 100))
        row("push to awake, 95th percentile, through a driver", (5, "≤ 5 ms"), worst, f"{worst:.2f} ms", at_least=False)
    return table(["what", "bar", "measured", "met"], rows)


def versions(recorded, results):
    """The other extensions; the frameworks' versions are beside their figures."""
    rows = [[name, ", ".join(" ".join(pair) for pair in own.items())] for name, own in sorted(recorded.items())]
    expected = [name for name in ("flatness", "horizon", "wake") if name in results]
    if "throughput" not in recorded:
        expected += [f"throughput.{part}" for part in ("cycles", "batches", "forms", "minute", "wal") if part in results.get("throughput", {})]
    missing = [name for name in expected if name not in recorded]
    parts = [table(["", "measured with"], rows)] if rows else []
    parts += [f"Not recorded when it was measured: {', '.join(missing)}."] if missing else []
    return "\n\n".join(["## Versions", *parts]) if parts else ""


def throughput(run, place):
    """What was measured of it: parts can be measured one by one."""
    sections = {"cycles": cycles, "batches": batches, "forms": forms, "minute": minute, "wal": wal, "many_queues": many_queues, "limits": server_limits}
    if "cycles" in run:
        plot_cycles(run["cycles"]["8"], place)
    return "\n\n".join(section(run[name]) for name, section in sections.items() if name in run)


def cycles(run):
    parts = ["## Cycles\n\nRatios are pgqueue's throughput against the other's: more than 1, and pgqueue is faster."]
    for clients, engines in run.items():
        parts.append(
            f"{clients} client{'s' if clients != '1' else ''}:\n\n"
            + table(
                ["", "cycles/s", "pgqueue against it", "CPU a cycle", "p50", "p95", "p99"],
                [
                    [name, f"{own['per_second']:,.0f}", ratio(own["ratio"]), f"{own['cpu']:.0f} µs"]
                    + [f"{own[key]:.2f} ms" for key in ("p50", "p95", "p99")]
                    for name, own in engines.items()
                ],
            )
        )
    return "\n\n".join([*parts, WHY_NOT_MORE, "![cycles](cycles.svg)"])


def batches(run):
    return "## Batches\n\n8 clients; a push, a reserve and a delete of so many messages each.\n\n" + batch_table("batch", run)


def batch_table(what, run):
    return table(
        [what, "", "messages/s", "pgqueue against it", "CPU a message"],
        [
            [kind, name, f"{own['per_second']:,.0f}", ratio(own["ratio"]), f"{own['cpu']:.1f} µs"]
            for kind, engines in run.items()
            for name, own in engines.items()
        ],
    )


def forms(run):
    return (
        "Batches of 100 are deleted by the statement that reserved them (`SELECT … FROM (SELECT array_agg(…) FROM "
        "pgq_reserve(…)) taken, pgq_delete_batch(…)`, and the same with pgmq's functions), or by another one, with the "
        "arrays that `array_agg` gave the client:\n\n" + batch_table("deleted", run)
    )


def minute(run):
    """How both go on when a run is not over after some seconds."""
    ends = [(n + 1) * run["every"] for n in range(len(run["ratios"]))]
    return (
        "The ratio depends on how long pgmq's table has not been vacuumed: its read goes past the dead rows of what was consumed. "
        "The same batches without pause, from a vacuumed table on, with autovacuum as PostgreSQL sets it; each line has the seconds before it:\n\n"
        + table(
            ["after", "pgqueue, messages/s", "pgmq", "pgqueue against it"],
            [
                [f"{end} s", f"{ours:,.0f}", f"{theirs:,.0f}", ratio(own)]
                for end, ours, theirs, own in zip(ends, run["pgqueue"], run["pgmq"], run["ratios"])
            ],
        )
    )


def wal(run):
    return "## WAL for the life of a message\n\nWithout full page images.\n\n" + table(["", "bytes"], [[name, f"{own:.0f}"] for name, own in run.items()])


def many_queues(run):
    return (
        "## A database with 100,000 queues\n\nTime of a reserve against one in a database with 10 queues, all empty.\n\n"
        + table(["", "ratio"], [[name, ratio(own)] for name, own in run.items()])
    )


def server_limits(run):
    return "## Limits of the server\n\n" + table(["", "a second"], [[name, f"{own:,.0f}"] for name, own in run.items()])


def plot_cycles(engines, place):
    figure, axes = pyplot.subplots(figsize=(7, 2.6))
    names = ["pgqueue", "pgqueue, pgq_next", "pgmq", "plain table", "INSERT + DELETE by key"]
    values = [engines[name]["per_second"] for name in names]
    axes.barh(names[::-1], values[::-1], color=[COLOURS.get(name.split(",")[0], "#dddddd") for name in names[::-1]])
    axes.set_xlabel("cycles a second, 8 clients (medians)")
    save(figure, place, "cycles.svg")


def flatness(run, place):
    texts = {state: text.format(many=run["many"], group=run["many"] // 10) for state, text in STATES.items()}
    rows = [
        [text, *(cell for engine in ("pgqueue", "pgmq") for cell in cells(run[engine]["steady"].get(state)))]
        for state, text in texts.items()
    ]
    rows.append(["200,000 consumed, horizon pinned", *cells(run["pgqueue"]["pinned"]["consumed"]), *cells(run["pgmq"]["pinned"]["consumed"])])
    first = [
        [text, *(first_call(run[engine][mode].get(state)) for engine in ("pgqueue", "pgmq") for mode in ("after_restart", "after_crash"))]
        for state, text in texts.items()
    ]
    plot_flatness(run, place)
    return "\n\n".join(
        [
            "## Flatness",
            "Time of one reserve(1) through a driver, one session, the states in turn; each also has 1,000 ready messages "
            "behind or among the others. The ratio is that of the medians to the fresh queue.",
            table(["state", "pgqueue p50", "p99", "ratio", "pgmq p50", "p99", "ratio"], rows),
            "![flatness](flatness.svg)",
            "The first reserve after the server was stopped and started again, and after a crash:",
            table(["state", "pgqueue, restart", "crash", "pgmq, restart", "crash"], first),
        ]
    )


def first_call(milliseconds):
    return "" if milliseconds is None else f"{milliseconds:.1f} ms"


def cells(own):
    if own is None:
        return ["", "", ""]
    return [f"{own['p50']:.2f} ms", f"{own['p99']:.2f} ms", f"{own['ratio']:.2f}"]


def plot_flatness(run, place):
    figure, axes = pyplot.subplots(figsize=(7, 2.8))
    states = [*STATES, "consumed"]
    labels = ["fresh", "ready", "delayed", "in flight", "in one group", "consumed,\nhorizon pinned"]
    for n, engine in enumerate(("pgqueue", "pgmq")):
        steady = {**run[engine]["steady"], "consumed": run[engine]["pinned"]["consumed"]}
        known = [x for x, state in enumerate(states) if state in steady]
        axes.bar([x + n * 0.38 for x in known], [steady[states[x]]["p50"] for x in known], 0.36, label=engine, color=COLOURS[engine])
    axes.set_yscale("log")
    axes.set_xticks([x + 0.19 for x in range(len(states))], labels)
    axes.set_ylabel("ms a reserve (median, log)")
    axes.legend(frameon=False)
    save(figure, place, "flatness.svg")


def features(run, place):
    groups, looks = run["groups"], run["looks"]
    return "\n\n".join(
        [
            f"## Ordered groups\n\nA reserve of 100 out of {groups['many']:,} messages in {groups['many'] // 10:,} groups, and out of as many "
            "without groups, in turn; the batch is deleted afterwards.",
            table(["", "p50", "p99"], [[name, f"{groups[key]['p50']:.2f} ms", f"{groups[key]['p99']:.2f} ms"] for name, key in (("in groups", "grouped"), ("without", "plain"))]),
            f"## Counting and looking\n\nMedian times in a queue of {looks['many']:,} messages.",
            table(["", "ms"], [[name, f"{own:.2f}"] for name, own in looks["times"].items()]),
        ]
    )


def keys(run, place):
    rows = lambda part: [[name, f"{own['cpu']:.1f} µs", ratio(own["ratio"])] for name, own in run[part].items()]
    hot, held = run["hot"], run["held"]
    return "\n\n".join(
        [
            "## Unique keys\n\nCPU of one backend in a loop that commits each time, without waiting for the disk.",
            table(["push", "CPU", "against no key"], rows("push")),
            table(["push, reserve, delete", "CPU", "against no key"], rows("cycle")),
            f"{hot['producers']} producers push one key without pause, {hot['pushes']:,.0f} times a second; one consumer reserves and deletes. "
            f"A message was delivered {hot['deliveries']:.0f} times a second, the longest time between two was {hot['longest']:.0f} ms "
            f"(median {hot['median']:.1f}, p99 {hot['p99']:.1f}), and {hot['multixacts']} multixacts were made.",
            f"One key pushed, reserved and deleted {held['many']:,} times beside a held snapshot: {held['first']:.1f} blocks a cycle at first, "
            f"{held['last']:.1f} at the end.",
        ]
    )


def limits(run, place):
    def against_none(part):
        return [[name, f"{own['cpu']:.0f} µs", ratio(own["ratio"])] for name, own in run[part].items()]

    many = next(iter(run["held"].values()))["many"]
    held = [[name, f"{own['first']:.0f} µs", f"{own['last']:.0f} µs", f"{own['ratio']:.2f}"] for name, own in run["held"].items()]
    return "\n\n".join(
        [
            "## Limits\n\nCPU of one backend that loops in PL/pgSQL and commits after each call, by the kernel's account. "
            "The queues take turns; ratios are those of a round, against the queue without a limit.",
            table(["push, reserve, delete", "CPU a cycle", "against none"], against_none("cycle")),
            table(["push", "CPU a push", "against none"], against_none("push")),
            f"The cycle beside a held snapshot, the first 5,000 and the last of {many:,}:",
            table(["", "first", "last", "ratio"], held),
        ]
    )


def capture(run, place):
    triggers, events = ("no trigger", "by hand", "each row", "each statement"), ("insert", "update", "delete")
    cell = lambda name, event: f"{run['us'][f'{name}, {event}']:.1f} µs" + (
        f", {ratio(run['ratios'][f'{name}, {event}'])}" if f"{name}, {event}" in run["ratios"] else ""
    )
    return "\n\n".join(
        [
            f"## Capture\n\nCPU of the backend for each of {run['rows']:,} rows that a statement changes, with `pgq_capture` for each row, for each "
            "statement, and with a trigger in PL/pgSQL that pushes the same payload; in brackets the ratio to that trigger.",
            table(["", *events], [[name, *(cell(name, event) for event in events)] for name in triggers]),
        ]
    )


def topics(run, place):
    rows = [[name, f"{own['cpu']:.1f} µs", ratio(own["ratio"])] for name, own in run.items()]
    return "\n\n".join(
        [
            "## Topics\n\nCPU of the backend for a publish that reaches three queues, by how many queues are subscribed to the topic, against three "
            "pushes with the same headers; each a transaction.",
            table(["subscriptions", "CPU", "against three pushes"], rows),
        ]
    )


def horizon(points, place):
    figure, (rates, sizes) = pyplot.subplots(1, 2, figsize=(8, 2.8))
    at = [point["at"] for point in points]
    for name, label in (("free", "pgqueue, no old transaction"), ("pgqueue", "pgqueue"), ("pgmq", "pgmq"), ("PgQ", "PgQ (events pushed)")):
        rates.plot(at, [point[name] for point in points], label=label, color=COLOURS[name])
    rates.set_ylim(bottom=0)
    rates.set_xlabel("seconds since the old transaction began")
    rates.set_ylabel("a second")
    rates.legend(frameon=False, fontsize=7)
    for name in ("pgqueue", "pgmq", "PgQ"):
        sizes.plot(at, [float(point["sizes"][name]) / 2**20 for point in points], label=name, color=COLOURS[name])
    sizes.set_ylabel("MiB with indexes")
    sizes.set_xlabel("seconds")
    save(figure, place, "horizon.svg")
    first, last = points[0], points[-1]
    rows = [
        [name, f"{first[name]:,.0f}", f"{statistics.median(point[name] for point in points):,.0f}", f"{last[name]:,.0f}", f"{min(point[name] for point in points):,.0f}"]
        + [f"{float(last['sizes'][name]) / 2**20:,.0f} MiB" if name in last["sizes"] else ""]
        for name in ("free", "pgqueue", "pgmq", "PgQ")
    ]
    names = {"free": "pgqueue, nothing pinned", "PgQ": "PgQ (events pushed, one consumer keeping up)"}
    return "\n\n".join(
        [
            f"## A pinned xmin horizon\n\n{len(points) * 15 / 60:.0f} minutes in which an old transaction holds back every vacuum. "
            "Each is measured for 3 of every 15 seconds, 8 clients, in turn, and idle for the other 12; pgqueue also on a second server where "
            "nothing is pinned.",
            table(["cycles/s", "first", "median", "last", "lowest", "size at the end"], [[names.get(row[0], row[0]), *row[1:]] for row in rows]),
            "![horizon](horizon.svg)",
        ]
    )


def wake(run, place):
    rows = [
        [name, *(f"{own[key]:.2f} ms" for key in ("p50", "p95", "p99")), f"{own['push_p50']:.2f} ms"]
        for name, own in run.items()
        if name != "idle"
    ]
    idle = run["idle"]
    return "\n\n".join(
        [
            "## Waking",
            "From just before a producer's push, commit included, until a sleeping consumer's call has returned: open loop, "
            "50 messages a second at random times, processes with psycopg. pgmq polls inside the server every 100 ms "
            "(`read_with_poll`, its default).",
            table(["waiters", "p50", "p95", "p99", "the push itself, p50"], rows),
            f"CPU of the whole machine while nothing happens, as a share of one core: {idle['nobody']:.3f} without waiters, "
            f"{idle['pgqueue']:.3f} with 100 that wait in pgqueue, {idle['pgmq']:.3f} with 100 in pgmq. Without waiters it is all noise; "
            "so is a difference that is smaller.",
        ]
    )


def frameworks(run, place):
    rows = [
        [own.get("driver", language), name, own.get("version", "not recorded"), f"{own['per_second']:,.0f}", ratio(own["ratio"])]
        + [ratio(own["batches"]) if "batches" in own else ""]
        for language, engines in run.items()
        for name, own in engines.items()
    ]
    notes = [f"- **{name}** ({language}): {own['how']}" for language, engines in run.items() for name, own in engines.items() if "how" in own]
    counts = {own["jobs"] for engines in run.values() for own in engines.values() if "jobs" in own}
    many = f"{counts.pop():,} jobs" if len(counts) == 1 else "Jobs"
    return "\n\n".join(
        [
            "## Worker frameworks",
            f"{many} that lie in a queue, worked off eight at a time by one process. A job does nothing. Ratios are pgqueue's throughput "
            "against the other's, of pgqueue one by one and in batches of 100.",
            table(["", "", "version", "jobs/s", "pgqueue against it", "in batches"], rows),
            "\n".join(notes),
        ]
    ).strip()


def sharding(run, place):
    rows = [
        [what, f"{own['direct']['per_second']:,.0f}", f"{own['proxy']['per_second']:,.0f}", ratio(own["ratio"])]
        + [ratio(own["ratio_to_bare"]) if "ratio_to_bare" in own else ""]
        + [f"{own[name]['p50']:.2f} ms" for name in ("direct", "proxy")]
        for what, own in run["work"].items()
    ]
    return "\n\n".join(
        [
            "## Through a proxy",
            "Messages a second on the partition itself and through PL/Proxy (docs/sharding.md), in turn; proxy and partition are on "
            "one server, so they share its processors. p50 is the time of a whole cycle, or of pushing, reserving and deleting a "
            "batch. The machine's load average was {:.0f} before and {:.0f} after.".format(*run["load"]),
            table(["", "direct", "proxy", "proxy to direct", "to a bare call of PL/Proxy", "p50 direct", "proxy"], rows),
        ]
    )
