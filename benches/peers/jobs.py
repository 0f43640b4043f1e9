"""Works off the jobs that lie in a queue, and prints how many a second.

usage: python jobs.py ENGINE COUNT   (an engine below; PGHOST … say where: a database of its own)
"""

import asyncio
import contextlib
import dataclasses
import functools
import os
import sys
import time

import psycopg
import psycopg_pool
import uvloop

CONCURRENCY = 8
BATCH = 100


class Jobs:
    """Counts the jobs that were done, and has the clock."""

    def __init__(self, count):
        self.count, self.done, self.all = count, 0, asyncio.Event()

    async def begin(self):
        """The tables are as vacuum keeps them when work begins."""
        async with connection() as db:
            await db.execute("VACUUM ANALYZE")
        self.begun = time.monotonic()

    def add(self, count=1):
        self.done += count
        if self.done >= self.count:
            self.all.set()

    async def until_none(self, query):
        """Seconds that it took, when all were done and the query finds none that is not."""
        async with connection() as db:
            await self.all.wait()
            while await (await db.execute(query)).fetchone() is not None:
                await asyncio.sleep(0.001)
            return time.monotonic() - self.begun


@contextlib.asynccontextmanager
async def connection():
    async with await psycopg.AsyncConnection.connect(autocommit=True) as db:
        yield db


async def pgqueue(jobs, reserve, delete, receipts):
    """Eight loops, each: take jobs, say that they are done."""
    async with psycopg_pool.AsyncConnectionPool("", min_size=CONCURRENCY, kwargs={"autocommit": True}) as pool:
        async with pool.connection() as db:
            await db.execute("CREATE EXTENSION pgqueue")
            await db.execute("SELECT pgq_create_queue('jobs')")
            await db.execute(
                "SELECT count(*) FROM pgq_push_batch('jobs', array_fill('{\"n\": 1}'::jsonb, ARRAY[%s::int]))", (jobs.count,)
            )

        async def loop():
            async with pool.connection() as db:
                while jobs.done < jobs.count:
                    taken = await (await db.execute(reserve, prepare=True)).fetchall()
                    if taken:
                        deleted = await db.execute(delete, receipts(taken), prepare=True)
                        jobs.add((await deleted.fetchone())[0])

        await jobs.begin()
        await asyncio.gather(*(loop() for _ in range(CONCURRENCY)))
        return time.monotonic() - jobs.begun


pgqueue_one_by_one = functools.partial(
    pgqueue,
    reserve="SELECT id, delivery FROM pgq_reserve('jobs')",
    delete="SELECT pgq_delete(%s::bigint, %s::bigint)::int",
    receipts=lambda taken: taken[0],
)
pgqueue_batches = functools.partial(
    pgqueue,
    reserve=f"SELECT id, delivery FROM pgq_reserve('jobs', max => {BATCH})",
    delete="SELECT count(*) FROM pgq_delete_batch(%s::bigint[], %s::bigint[])",
    receipts=lambda taken: [list(column) for column in zip(*taken)],
)


async def procrastinate(jobs):
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(max_size=CONCURRENCY + 2))

    @app.task(name="job")
    async def job(n):
        jobs.add()

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await job.batch_defer_async(*({"n": 1} for _ in range(jobs.count)))
        await jobs.begin()
        await app.run_worker_async(concurrency=CONCURRENCY, wait=False, delete_jobs="always", install_signal_handlers=False)
        return time.monotonic() - jobs.begun


async def psycopg_driver():
    from pgqueuer.db import PsycopgDriver

    return PsycopgDriver(await psycopg.AsyncConnection.connect(autocommit=True))


async def asyncpg_driver():
    import asyncpg
    from pgqueuer.db import AsyncpgDriver

    return AsyncpgDriver(await asyncpg.connect())


async def pgqueuer(jobs, driver, batch_size):
    """Eight consumers, each with its connection."""
    from pgqueuer import PgQueuer
    from pgqueuer.queries import Queries

    queries = Queries(await driver())
    await queries.install()
    await queries.optimize_autovacuum()
    await queries.enqueue(["job"] * jobs.count, [b'{"n": 1}'] * jobs.count, [0] * jobs.count)
    consumers = [PgQueuer(await driver()) for _ in range(CONCURRENCY)]
    for consumer in consumers:

        @consumer.entrypoint("job")
        async def job(job):
            jobs.add()

    await jobs.begin()
    work = [asyncio.create_task(consumer.run(batch_size=batch_size)) for consumer in consumers]
    took = await jobs.until_none("SELECT FROM pgqueuer LIMIT 1")
    for consumer in consumers:
        consumer.shutdown.set()
    await asyncio.gather(*work)
    return took


@dataclasses.dataclass
class Job:
    n: int


async def awa(jobs, workers):
    import awa

    client = awa.AsyncClient(f"postgres://{os.environ['PGUSER']}@localhost/{os.environ['PGDATABASE']}?host={os.environ['PGHOST']}")

    @client.task(Job, queue="jobs")
    async def job(job):
        jobs.add()

    await client.migrate()
    # Only a worker that starts in an empty database turns its new storage on.
    await client.start([("jobs", workers)])
    await client.shutdown()
    await client.enqueue_many_copy([Job(1)] * jobs.count, queue="jobs")
    await jobs.begin()
    await client.start([("jobs", workers)])
    took = await jobs.until_none("SELECT FROM awa.jobs WHERE state NOT IN ('completed') LIMIT 1")
    await client.shutdown()
    await client.close()
    return took


ENGINES = {
    "pgqueue": pgqueue_one_by_one,
    "pgqueue-batches": pgqueue_batches,
    "procrastinate": procrastinate,
    "pgqueuer": functools.partial(pgqueuer, driver=psycopg_driver, batch_size=10),
    "pgqueuer-batches": functools.partial(pgqueuer, driver=psycopg_driver, batch_size=BATCH),
    "pgqueuer-asyncpg-batches": functools.partial(pgqueuer, driver=asyncpg_driver, batch_size=BATCH),
    "awa": functools.partial(awa, workers=CONCURRENCY),
    "awa-50": functools.partial(awa, workers=50),
}


async def main(engine, count):
    jobs = Jobs(count)
    took = await ENGINES[engine](jobs)
    if jobs.done != count:
        raise RuntimeError(f"{jobs.done} of {count} jobs were done")
    print(count / took)


uvloop.run(main(sys.argv[1], int(sys.argv[2])))
