"""Scenario e: from a producer's commit to a consumer that is awake, through a driver."""

import multiprocessing
import random
import time

from .engines import Pgmq, Pgqueue
from .measure import busy, percentile, progress, size
from .server import Server

EXTENSIONS = ("pgmq",)

PGQUEUE_WAIT = "CALL pgq_wait('bench', '10 s')"
PGQUEUE_TAKE = "SELECT (payload ->> 'at')::float8 FROM pgq_pop('bench')"
PGQUEUE_PUSH = "SELECT pgq_push('bench', jsonb_build_object('at', %s::float8))"
PGMQ_TAKE = "SELECT (message ->> 'at')::float8, msg_id FROM pgmq.read_with_poll('bench', 30, 1, 10, 100)"
PGMQ_DELETE = "SELECT pgmq.delete('bench', %s::bigint)"
PGMQ_PUSH = "SELECT pgmq.send('bench', jsonb_build_object('at', %s::float8))"


def measure():
    server = Server()
    Pgqueue().set_up(server)
    Pgmq().set_up(server)
    result = {}
    for waiters in (1, 100):
        for name, consume, push in (("pgqueue", pgqueue, PGQUEUE_PUSH), ("pgmq", pgmq, PGMQ_PUSH)):
            progress(f"waking: {name}, {waiters} waiters")
            result[f"{name}, {waiters}"] = latencies(server, consume, push, waiters)
    result["idle"] = idle(server)
    server.remove()
    return result


def pgqueue(server, ready, awake):
    """A consumer: sleeps, takes what is there, notes when it was awake."""
    with server.connect(prepare_threshold=1) as db:
        ready.release()
        while True:
            db.execute(PGQUEUE_WAIT)
            woken = time.monotonic()
            for (at,) in db.execute(PGQUEUE_TAKE).fetchall():
                awake.put((at, woken))


def pgmq(server, ready, awake):
    with server.connect(prepare_threshold=1) as db:
        ready.release()
        while True:
            for at, id in db.execute(PGMQ_TAKE).fetchall():
                awake.put((at, time.monotonic()))
                db.execute(PGMQ_DELETE, (id,))


class Waiters:
    def __init__(self, server, consume, count):
        self.ready = multiprocessing.Semaphore(0)
        self.awake = multiprocessing.Queue()
        self.processes = [
            multiprocessing.Process(target=consume, args=(server, self.ready, self.awake), daemon=True)
            for _ in range(count)
        ]
        for process in self.processes:
            process.start()
        for _ in range(count):
            self.ready.acquire()
        time.sleep(1)

    def end(self):
        for process in self.processes:
            process.kill()
            process.join()


def latencies(server, consume, push, count):
    """Open loop: pushes at random times, whether or not the last was taken.

    The commit lies between the moment before the push, which travels in the message,
    and the moment after it: the latency is counted from before, so it includes the push.
    """
    waiters = Waiters(server, consume, count)
    messages, pause = size(1_000, 100), 0.02
    pushes = []
    with server.connect(prepare_threshold=1) as db:
        for _ in range(messages):
            time.sleep(random.expovariate(1 / pause))
            at = time.monotonic()
            db.execute(push, (at,))
            pushes.append((time.monotonic() - at) * 1000)
    taken = [waiters.awake.get(timeout=15) for _ in range(messages)]
    waiters.end()
    times = [(woken - at) * 1000 for at, woken in taken]
    return {
        "p50": percentile(times, 0.5),
        "p95": percentile(times, 0.95),
        "p99": percentile(times, 0.99),
        "push_p50": percentile(pushes, 0.5),
    }


def idle(server):
    """Share of one core that 100 waiters cost while nothing happens."""
    result = {}
    seconds = size(20, 4)
    for name, consume in (("nobody", None), ("pgqueue", pgqueue), ("pgmq", pgmq)):
        progress(f"idle cost of 100 waiters: {name}")
        waiters = Waiters(server, consume, 100) if consume else None
        before = busy()
        time.sleep(seconds)
        result[name] = (busy() - before) / seconds
        if waiters:
            waiters.end()
    return result
