"""Scenario t: CPU of a publish that reaches 3 queues, against three pushes into them, by how many subscriptions there are."""

from .loop import ratios
from .measure import size
from .server import Server

REACHED = ("one", "two", "three")
KEY = "order.eu.paid"
PATTERNS = ("order.eu.paid", "order.*.paid", "order.#")
THREE = " ".join(f"PERFORM pgq_push('{queue}', '1', '{{\"topic\": \"shop\", \"routing_key\": \"{KEY}\"}}');" for queue in REACHED)
ROUNDS = 15


def subscribe(db, topic, others):
    """Subscribes the queues that are reached, and others that are not."""
    db.execute("SELECT pgq_create_topic(%s)", (topic,))
    for queue, pattern in zip(REACHED, PATTERNS):
        db.execute("SELECT pgq_subscribe(%s, %s, %s)", (topic, queue, pattern))
    db.execute(
        "SELECT count(pgq_subscribe(%s, 'other ' || n, format('order.%%s.*', n))) FROM generate_series(1, %s) n", (topic, others)
    )


def measure():
    server, step = Server(), size(1_000, 200)
    sizes = {f"{n:,}": n for n in (3, 1_000, 10_000)}
    with server.connect() as db:
        db.execute("SET synchronous_commit = off")
        for name, n in sizes.items():
            subscribe(db, name, n - len(REACHED))
        bodies = {"three pushes": THREE} | {name: f"PERFORM pgq_publish('{name}', '1', '{KEY}');" for name in sizes}
        purge = lambda: [db.execute("SELECT pgq_purge(%s)", (queue,)) for queue in REACHED]
        result = ratios(db, "topics", bodies, ROUNDS, step, after=purge)
    server.remove()
    return result
