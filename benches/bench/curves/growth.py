"""How a cost grows with a size, and bounds on that. Knows no server."""

import math
from dataclasses import dataclass, field

# A cost that is this many times that of the smallest size is no longer called flat.
FLAT = 1.5

# By so many blocks a call may differ, whatever the bound: a page was split, an index has one more level.
SLACK = 12

# A cost that grows with a higher power of the size than this is worse than linear.
LINEAR = 1.3

# CPU on a machine that others use too: what is below this counts as noise, unless a bound says otherwise.
CPU_NOISE = 2.5

COUNTS = ("blocks", "wakes")  # do not depend on the machine


def exponent(sizes, costs):
    """The power of the size with which the cost grows, between the two largest sizes."""
    (small, large), (before, after) = sizes[-2:], costs[-2:]
    if before <= 0 or after <= 0 or small <= 0:
        return 0.0
    if math.isinf(after):
        return math.inf
    return math.log(after / before) / math.log(large / small)


def ratio(costs):
    """The largest cost as a multiple of that at the smallest size."""
    return max(costs[1:]) / max(costs[0], 1e-9)


def growth(sizes, costs):
    if max(costs[1:]) <= FLAT * costs[0] + SLACK:
        return "flat"
    return "linear" if exponent(sizes, costs) <= LINEAR else "worse"


@dataclass(frozen=True)
class Bound:
    """What growth is allowed: for each kind of cost a multiple of that at the smallest size, or linear."""

    limits: dict = field(default_factory=dict)  # kind of cost: multiple, or "linear"
    why: str = ""  # where this is documented; empty: it is what we want
    slack: float = SLACK

    def broken(self, kind, sizes, costs):
        """What is wrong with these costs, or None."""
        limit = self.limits.get(kind)
        if limit is None:
            return None
        if any(math.isinf(cost) for cost in costs):
            return f"{kind}: the call did not end in time"
        if limit == "linear":
            power = exponent(sizes, costs)
            is_flat = ratio(costs) <= FLAT
            return None if is_flat or power <= LINEAR else f"{kind}: grows with size^{power:.2f}, bound linear"
        slack = self.slack if kind in COUNTS else 0
        if max(costs[1:]) <= limit * costs[0] + slack:
            return None
        return f"{kind}: × {ratio(costs):.2f}, bound {limit:g}"

    def text(self):
        limit = self.limits.get("blocks", self.limits.get("cpu", self.limits.get("wakes")))
        return "linear" if limit == "linear" else f"≤ {limit:g}"


def flat(times=FLAT, cpu=None, why="", slack=SLACK):
    return Bound({"blocks": times, "wakes": times, "cpu": cpu or max(times, CPU_NOISE)}, why, slack)


def only(why="", **limits):
    """Limits for some kinds of cost."""
    return Bound(limits, why)


def linear(why=""):
    return Bound({"blocks": "linear", "cpu": "linear", "wakes": "linear"}, why)
