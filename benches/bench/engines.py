"""The queues that are measured: how each is set up, filled and asked."""

MANY = 10_000  # messages a statement, while filling


def parts(count):
    return [min(MANY, count - start) for start in range(0, count, MANY)]


class Pgqueue:
    name = "pgqueue"

    def set_up(self, server):
        server.run("""SELECT pgq_create_queue('bench', '{"max_deliveries": 0}')""")

    def create(self, db, queue):
        db.execute("""SELECT pgq_create_queue(%s, '{"max_deliveries": 0}')""", (queue,))

    def push(self, db, queue, count, delay=None, group=None):
        for n in parts(count):
            db.execute(
                "SELECT count(*) FROM pgq_push_batch(%s, array_fill('{\"n\": 1}'::jsonb, ARRAY[%s::int]), delay => %s::interval, group_key => %s)",
                (queue, n, delay, group),
            )

    def push_to_groups(self, db, queue, count, groups):
        for start in range(0, count, MANY):
            db.execute(
                "SELECT count(pgq_push(%s, '{\"n\": 1}', group_key => 'group ' || n %% %s)) FROM generate_series(%s::int, %s::int) n",
                (queue, groups, start, min(start + MANY, count) - 1),
            )

    def lease(self, db, queue, count):
        for n in parts(count):
            db.execute("SELECT count(*) FROM pgq_reserve(%s, '1 day', %s)", (queue, n))

    def consume(self, db, queue, count):
        for n in parts(count):
            db.execute("SELECT count(*) FROM pgq_pop(%s, %s)", (queue, n))

    reserve = "SELECT id FROM pgq_reserve(%(queue)s)"
    delete = "SELECT pgq_delete(%(id)s::bigint)"


class Pgmq:
    name = "pgmq"

    def set_up(self, server):
        server.run("CREATE EXTENSION pgmq", "SELECT pgmq.create('bench')")

    def create(self, db, queue):
        db.execute("SELECT pgmq.create(%s)", (queue,))

    def push(self, db, queue, count, delay=None):
        seconds = 86_400 if delay else 0
        for n in parts(count):
            db.execute(
                "SELECT count(*) FROM pgmq.send_batch(%s, array_fill('{\"n\": 1}'::jsonb, ARRAY[%s::int]), %s::int)",
                (queue, n, seconds),
            )

    def lease(self, db, queue, count):
        # One statement: each would come past all that were leased before.
        db.execute("SELECT count(*) FROM pgmq.read(%s, 86400, %s)", (queue, count))

    def consume(self, db, queue, count):
        db.execute("SELECT count(*) FROM pgmq.pop(%s, %s)", (queue, count))

    reserve = "SELECT msg_id FROM pgmq.read(%(queue)s, 30, 1)"
    delete = "SELECT pgmq.delete(%(queue)s, %(id)s::bigint)"


class Table:
    """The plain table that teams write first: UPDATE … WHERE id = (… FOR UPDATE SKIP LOCKED)."""

    def set_up(self, server):
        server.run(
            """CREATE TABLE plain (id bigserial PRIMARY KEY, payload jsonb, attempts int NOT NULL DEFAULT 0,
                                   visible_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
        )


class Bare:
    """No queue at all: INSERT, and DELETE by the key that INSERT returned."""

    def set_up(self, server):
        server.run("CREATE TABLE bare (id bigserial PRIMARY KEY, payload jsonb)")


class Pgq:
    """PgQ: batches between ticks, one consumer."""

    def set_up(self, server):
        server.run(
            "CREATE EXTENSION pgq",
            "SELECT pgq.create_queue('bench')",
            "SELECT pgq.set_queue_config('bench', 'ticker_max_lag', '50 ms')",
            "SELECT pgq.set_queue_config('bench', 'ticker_idle_period', '50 ms')",
            "SELECT pgq.register_consumer('bench', 'bench')",
        )
