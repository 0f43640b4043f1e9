"""CPU of one backend, from the kernel's own account, in loops of PL/pgSQL that commit each time."""

import statistics

from .measure import progress, spread


def ratios(db, name, bodies, rounds, times, after=None):
    """CPU of each body as a multiple of the first one's. They take turns; the first round counts for nothing."""
    took = {body: [] for body in bodies}
    for n in range(-1, rounds):
        progress(f"{name}: round {n + 1} of {rounds}")
        for body, statements in bodies.items():
            cost = cpu_of(db, statements, times)
            if n >= 0:
                took[body].append(cost)
        if after:
            after()
    first = next(iter(took.values()))
    return {
        body: {"cpu": statistics.median(own), "ratio": spread([mine / other for mine, other in zip(own, first)])}
        for body, own in took.items()
    }


def cpu_of(db, statements, times):
    """Microseconds of the backend's CPU for one time."""
    account = f"/proc/{db.info.backend_pid}/schedstat"
    nanoseconds = lambda: int(open(account).read().split()[0])
    before = nanoseconds()
    db.execute(
        f"DO $$ DECLARE leased record; BEGIN FOR n IN 1..{times} LOOP {statements} COMMIT; END LOOP; END $$"
    )
    return (nanoseconds() - before) / times / 1000
