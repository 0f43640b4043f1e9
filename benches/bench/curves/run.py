"""Measures the curves: sizes in turn, medians."""

import math
import statistics

import psycopg

from ..measure import QUICK, progress, size
from .databases import Filled
from .table import quick_calls

WARM_UP = 1
TIMES = size(5, 2)


def curves_of(account, name, dimension):
    """{call: {kind of cost: [a figure a size]}}."""
    sizes, databases = size(dimension.sizes, dimension.quick), []
    chosen = quick_calls(name, dimension) if QUICK else dimension.calls
    account.let_worker(dimension.worker)
    try:
        for n in sizes:
            progress(f"{name}: filling {n:,}")
            databases.append(Filled(account, dimension, n))
        return {call: costs(databases, name, call) for call in chosen}
    finally:
        for database in databases:
            database.remove()


def costs(databases, dimension, name):
    """Medians of a call's costs in each database. The databases take turns."""
    progress(f"{dimension}: {name}")
    call = databases[0].dimension.calls[name]
    figures = [[] for _ in databases]
    for n in range(WARM_UP + TIMES):
        for database, own in zip(databases, figures):
            if own and math.isinf(own[-1].get("blocks", 0)):
                continue  # once endless is enough
            try:
                cost = database.measure(call)
            except (psycopg.Error, KeyError) as problem:
                raise RuntimeError(f"{dimension}, {database.size}, {name}: {problem!r}") from problem
            if n >= WARM_UP or math.isinf(cost.get("blocks", 0)):
                own.append(cost)
    return {kind: [statistics.median_low(cost[kind] for cost in own) for own in figures] for kind in figures[0][0]}
