"""Curves that do not meet their bounds yet, and why. A mark here is no excuse for another curve: it names its own."""

from fnmatch import fnmatchcase

SMALL = "queues of up to 200 messages are looked at one by one, by a scan of the table"
LEVELS = "sixteen priorities with messages have hints; the others are scanned from their beginning"
WHOLE = "`WHERE queue = …` fits no index of the message table"
SLOTS = "a wait reads all slots"
CACHES = "a round, and a change of any queue, throw away what sessions know of queues"
DELAYED = "the delayed lane is looked at from its first entry, dead ones included"

# Dimension, call: as file names are matched.
KNOWN = (
    ("*", "stats of all", SMALL),
    ("others", "count*", SMALL),
    ("others", "stats*", SMALL),
    ("dead", "stats", SMALL),
    ("snapshot", "count", SMALL),
    ("snapshot", "stats", SMALL),
    ("queues", "stats*", SMALL),
    ("*", "purge", WHOLE),
    ("*", "drop_queue", WHOLE),
    ("due*", "wait", "all that is due is read"),
    ("due*", "peek ready", "all that is due is read"),
    ("*leased", "stats", "the leases that have ended are looked for among all"),
    ("ended", "peek leased", "leases that have ended are passed one by one"),
    ("groups*", "peek blocked", "each message of the ready lane is asked whether it waits"),
    ("dead", "redrive, rare reason", "there is no index on the reason"),
    ("ttl over", "reserve, REPEATABLE READ", "expired messages are passed one by one"),
    ("ttl over", "reserve after own push", "expired messages are passed one by one"),
    ("ttl over", "reserve, filter", "expired messages are passed one by one"),
    ("priorities", "*", LEVELS),
    ("priorities, full", "push", "each push lists all priorities"),
    ("batch of groups", "reserve of 100", "a look at its group for each message"),
    ("slots", "wait", SLOTS),
    ("grants", "list_grants*", "the rights of a queue are parsed once for each of its rows"),
    ("snapshot, delayed", "reserve *", DELAYED),
    ("prepared, delayed", "*", DELAYED),
    ("prepared", "wait", "what a prepared transaction may hold is looked at from the beginning"),
    ("snapshot, one group", "*", "README: one group and an old snapshot; its consumed messages are scanned"),
    ("snapshot, full", "push", "the oldest are looked for from the lowest place"),
    ("rounds", "*", CACHES),
    ("other queues made", "*", CACHES),
    ("others", "round: *", "a step of a round ends after a time, so a busy machine reads less at some sizes"),
    ("sleepers, mixed", "push", "one sleeper that waits for several wakes all"),
)


def is_marked(mark, dimension, call):
    return fnmatchcase(dimension, mark[0]) and fnmatchcase(call, mark[1])


def reason(dimension, call):
    """Why this curve is known to break its bound; empty if it is not."""
    return next((why for *mark, why in KNOWN if is_marked(mark, dimension, call)), "")
