#!/usr/bin/env bash
# awa's engine in a fresh database depends on which comes first, a worker or a job.
#
# Seen: awa-pg 0.6.9 with PostgreSQL 15.20 on Debian 12. Its README says that a fresh installation goes to the
# queue-storage engine on the first migrate. A migrate alone does not: a worker that starts in an empty database turns
# it on; if a job is inserted before any worker has started, the database keeps the older engine, whatever starts later.
set -euo pipefail
. "$(dirname "$0")/server"
python awa-pg==0.6.9 <<'P'
import asyncio, os
from dataclasses import dataclass
import awa


@dataclass
class Job:
    n: int


async def database(name, steps):
    """Runs the steps in a database of their own, and then a COPY that needs the newer engine."""
    os.system(f"/usr/lib/postgresql/15/bin/createdb -h 127.0.0.1 -p {os.environ['PORT']} -U postgres {name}")
    client = awa.AsyncClient(f"postgres://postgres@127.0.0.1:{os.environ['PORT']}/{name}")

    @client.task(Job, queue="jobs")
    async def job(job):
        pass

    async def worker():
        await client.start([("jobs", 1)])
        await client.shutdown()

    await client.migrate()
    for step in steps:
        await {"worker": worker, "job": lambda: client.insert(Job(1), queue="jobs")}[step]()
    try:
        await client.enqueue_many_copy([Job(1)], queue="jobs")
        seen = "copied"
    except Exception as error:
        seen = "refused"
        print("   ", str(error)[:100])
    print("migrate", *steps, "→", seen)
    await client.close()
    return seen


async def main():
    assert await database("a", []) == "refused"
    assert await database("b", ["worker"]) == "copied"
    assert await database("c", ["job", "worker", "worker"]) == "refused"


asyncio.run(main())
P
