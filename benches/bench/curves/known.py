"""Curves that do not meet their bounds yet, and why. A mark here is no excuse for another curve: it names its own."""

from fnmatch import fnmatchcase

SMALL = "queues of up to 200 messages are looked at one by one, by a scan of the table"
LEVELS = "sixteen priorities with messages have hints; the others are scanned from their beginning"
SLOTS = "a wait reads all slots"
DELAYED = "the delayed lane is looked at from its first entry, dead ones included"

# Dimension, call: as file names are matched.
KNOWN = (
    ("snapshot", "count", SMALL),
    ("snapshot", "stats", SMALL),
    ("due*", "wait", "all that is due is read"),
    ("due*", "peek ready", "all that is due is read"),
    ("ended", "peek leased", "leases that have ended are passed one by one"),
    ("groups*", "peek blocked", "each message of the ready lane is asked whether it waits"),
    ("dead", "redrive, rare reason", "there is no index on the reason"),
    ("ttl over", "reserve, REPEATABLE READ", "expired messages are passed one by one"),
    ("ttl over", "reserve after own push", "expired messages are passed one by one"),
    ("ttl over", "reserve, filter", "expired messages are passed one by one"),
    ("priorities", "*", LEVELS),
    ("batch of groups", "reserve of 100", "a look at its group for each message"),
    ("slots", "wait", SLOTS),
    ("prepared, delayed", "*", DELAYED),
    ("prepared", "wait", "what a prepared transaction may hold is looked at from the beginning"),
    ("snapshot, one group", "*", "README: one group and an old snapshot; its consumed messages are scanned"),
)


def is_marked(mark, dimension, call):
    return fnmatchcase(dimension, mark[0]) and fnmatchcase(call, mark[1])


def reason(dimension, call):
    """Why this curve is known to break its bound; empty if it is not."""
    return next((why for *mark, why in KNOWN if is_marked(mark, dimension, call)), "")
