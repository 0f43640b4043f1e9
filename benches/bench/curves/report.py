"""The table of curves as text and Markdown, and their picture."""

import math

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "pgqueue", "font.size": 7, "axes.spines.top": False, "axes.spines.right": False})
from matplotlib import pyplot  # noqa: E402

from .growth import COUNTS, growth  # noqa: E402
from .known import KNOWN, is_marked, reason  # noqa: E402
from .table import DIMENSIONS  # noqa: E402

MEETS, ALLOWED, BROKEN = "#2a6f97", "#bbbbbb", "#c1666b"  # broken bounds that are known, too
COLUMNS = 5


def bound_of(dimension, call):
    own = DIMENSIONS[dimension]
    return own.bounds.get(call, own.every)


def judged(results, kinds):
    """(dimension, sizes, call, costs, bound, what is wrong) of each curve."""
    for name, curves in results["dimensions"].items():
        for call, costs in curves["calls"].items():
            bound = bound_of(name, call)
            wrong = [bound.broken(kind, curves["sizes"], own) for kind, own in costs.items() if kind in kinds]
            yield name, curves["sizes"], call, costs, bound, [text for text in wrong if text]


def number(cost):
    if math.isinf(cost):
        return "endless"
    return f"{cost:,.0f}" if cost >= 20 or cost == int(cost) else f"{cost:.1f}"


def lines(results, kinds):
    """The table, and a list of what is broken."""
    rows, broken = [], []
    for name, sizes, call, costs, bound, wrong in judged(results, kinds):
        main = next(kind for kind in (*COUNTS, "cpu") if kind in costs)
        figures = " → ".join(number(cost) for cost in costs[main])
        cpu = " → ".join(number(cost) for cost in costs.get("cpu", ()))
        known = reason(name, call) if wrong else ""
        why = f"known: {known}: {'; '.join(wrong)}" if known else bound.why and f"documented: {bound.why}"
        wrong = [] if known else wrong
        rows.append((name, call, figures, cpu, growth(sizes, costs[main]), bound.text(), why, "; ".join(wrong)))
        broken += [f"{name}, {call}: {text}" for text in wrong]
    return rows, broken


def no_longer_needed(results, kinds):
    """Marks of known.py whose curves were measured, and all meet their bounds."""
    curves = [(name, call, wrong) for name, _, call, _, _, wrong in judged(results, kinds)]
    for dimension, call, why in KNOWN:
        marked = [wrong for name, own, wrong in curves if is_marked((dimension, call), name, own)]
        if marked and not any(marked):
            yield dimension, call


def print_table(rows, with_cpu):
    for name, call, blocks, cpu, grows, bound, why, wrong in rows:
        print(f"{name:20} {call:36} {blocks:30} {cpu if with_cpu else '':30} {grows:7} {bound:8} {f'BROKEN {wrong}' if wrong else why}".rstrip())


def markdown(results, kinds):
    parts = [
        "# Cost curves\n\nWhat each function and each step of a round costs while one thing grows: blocks that it touches, commit included, "
        "and microseconds of CPU of its process. Each size has a database of its own; sizes take turns; medians. "
        "[README](../README.md) has the method. `make curves` measures again.\n\n![curves](curves.svg)",
        results["machine"]["text"] + ".",
        *([] if "cpu" in kinds else ["The short form: small sizes; CPU is shown, but has no bounds."]),
    ]
    rows, broken = lines(results, kinds)
    if broken:
        parts.append("**Broken bounds**\n\n" + "\n".join(f"- {text}" for text in broken))
    for name, curves in results["dimensions"].items():
        head = f"## {DIMENSIONS[name].counts}\n\n{' → '.join(f'{n:,}' for n in curves['sizes'])}\n\n"
        table = ["| | blocks | CPU, µs | growth | bound | |", "| --- | --- | --- | --- | --- | --- |"]
        for own, call, blocks, cpu, grows, bound, why, wrong in rows:
            if own == name:
                table.append(f"| {call} | {blocks} | {cpu} | {grows} | {bound} | {f'**broken**: {wrong}' if wrong else why} |")
        parts.append(head + "\n".join(table))
    return "\n\n".join(parts) + "\n"


def short(n):
    return f"{n / 1_000_000:g}M" if n >= 1_000_000 else f"{n / 1_000:g}k" if n >= 1_000 else f"{n}"


def plot(results, kinds, path):
    """A panel a dimension, a line a function: its cost as a multiple of that at the smallest size."""
    names = list(results["dimensions"])
    rows = math.ceil(len(names) / COLUMNS)
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(2.3 * COLUMNS, 1.75 * rows), squeeze=False)
    for panel in axes.flat[len(names) :]:
        panel.set_visible(False)
    panels = dict(zip(names, axes.flat))
    for name, sizes, call, costs, bound, wrong in judged(results, kinds):
        own = next(costs[kind] for kind in (*COUNTS, "cpu") if kind in costs)
        first = max(own[0], 1)
        multiples = [max(cost, 1) / first if math.isfinite(cost) else 1e4 for cost in own]
        colour = BROKEN if wrong else ALLOWED if bound.text() == "linear" else MEETS
        at = [max(n, 0.3) for n in sizes]
        panels[name].plot(at, multiples, color=colour, linewidth=0.9, alpha=0.8)
        if wrong and own[-1] == max(own):
            panels[name].annotate(call, (at[-1], multiples[-1]), fontsize=4.5, ha="right", va="bottom", color=BROKEN)
    for name, panel in panels.items():
        panel.set_xscale("log")
        panel.set_yscale("log")
        low, high = panel.get_ylim()
        panel.set_ylim(min(low, 0.2), max(high, 20))
        panel.set_title(name, fontsize=7)
        sizes = results["dimensions"][name]["sizes"]
        panel.minorticks_off()
        panel.set_xticks([max(n, 0.3) for n in sizes], [short(n) for n in sizes], fontsize=5)
    figure.supylabel("blocks, as a multiple of those at the smallest size", fontsize=7)
    handles = [pyplot.Line2D([], [], color=colour) for colour in (MEETS, ALLOWED, BROKEN)]
    figure.legend(handles, ["within its bound", "grows by its nature, documented", "bound broken (known or not)"], loc="lower right", frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
