"""Works off the jobs that lie in a queue, eight at a time, and prints how many a second.

usage: python jobs.py pgqueue|procrastinate COUNT   (PGHOST … say where)
"""

import asyncio
import sys
import time

import procrastinate
import psycopg_pool

CONCURRENCY = 8


async def pgqueue(count):
    async with psycopg_pool.AsyncConnectionPool("", min_size=CONCURRENCY, kwargs={"autocommit": True}) as pool:
        async with pool.connection() as db:
            await db.execute("SELECT pgq_create_queue('python jobs')")
            await db.execute(
                "SELECT count(*) FROM pgq_push_batch('python jobs', array_fill('{\"n\": 1}'::jsonb, ARRAY[%s::int]))",
                (count,),
            )
        left = count

        async def loop():
            nonlocal left
            async with pool.connection() as db:
                while left > 0:
                    taken = await db.execute("SELECT id, delivery FROM pgq_reserve('python jobs')", prepare=True)
                    receipt = await taken.fetchone()
                    if receipt is not None:
                        await db.execute("SELECT pgq_delete(%s::bigint, %s::int)", receipt, prepare=True)
                        left -= 1

        begun = time.monotonic()
        await asyncio.gather(*(loop() for _ in range(CONCURRENCY)))
        return time.monotonic() - begun


async def procrastinate_jobs(count):
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(max_size=CONCURRENCY + 2))

    @app.task(name="job")
    async def job(n):
        pass

    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        await job.batch_defer_async(*({"n": 1} for _ in range(count)))
        begun = time.monotonic()
        await app.run_worker_async(concurrency=CONCURRENCY, wait=False, delete_jobs="always", install_signal_handlers=False)
        return time.monotonic() - begun


engine, count = sys.argv[1], int(sys.argv[2])
took = asyncio.run({"pgqueue": pgqueue, "procrastinate": procrastinate_jobs}[engine](count))
print(count / took)
