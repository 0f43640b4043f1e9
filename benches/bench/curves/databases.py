"""A database for each size of a dimension, filled, and one call measured in it."""

import math
import time

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from ..measure import QUICK
from .calls import ROLES, SET_UP

LONGEST = 20 if QUICK else 60  # seconds: a call that takes longer counts as endless
LONGEST_FILL = 300  # seconds

ENDLESS = {"blocks": math.inf, "cpu": math.inf}

SETTINGS = """
pgqueue.auto_vacuum = off
pgqueue.vacuum_interval = '1 h'
pgqueue.watch_workers = 0
autovacuum = off
fsync = off
synchronous_commit = off
max_connections = 800
max_prepared_transactions = 300
"""


class Account:
    """What a server counts: blocks of a database, from another one; and CPU of a backend."""

    def __init__(self, server):
        self.server = server
        self.db = server.connect()
        self.db.execute(ROLES)

    def restart(self):
        self.server.stop()
        self.server.start()
        self.db = self.server.connect()

    def blocks(self, database):
        row = self.db.execute("SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = %s", (database,), prepare=True)
        return int(row.fetchone()[0])

    def cpu(self, pid):
        """Microseconds."""
        with open(f"/proc/{pid}/schedstat") as account:
            return int(account.read().split()[0]) / 1000

    def let_worker(self, works):
        self.db.execute(f"ALTER SYSTEM SET pgqueue.auto_vacuum = {'on' if works else 'off'}")
        self.db.execute("SELECT pg_reload_conf()")

    def wakes(self, pid):
        """How often a process has gone to sleep."""
        with open(f"/proc/{pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))

    def when_quiet(self, database):
        """Waits until nothing in the background touches a block any more."""
        before = None
        while (now := self.blocks(database)) != before:
            before = now
            time.sleep(0.12)


class Filled:
    """A database with so many of what a dimension counts."""

    def __init__(self, account, dimension, size):
        self.account, self.dimension, self.size = account, dimension, size
        self.name = f"curve_{size}"
        self.account.db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
        self.connect()
        self.db.execute(SET_UP)
        self.parameters = {"n": size, "i": 0, "many": not QUICK}
        self.is_filled = self.fill_in_time()
        self.sleepers = [Sleeper(self, least) for least in dimension.sleepers(size)]
        account.when_quiet(self.name)

    def connect(self):
        self.db, self.other, self.holder = (self.session() for _ in range(3))

    def session(self):
        db = self.account.server.connect(self.name, row_factory=dict_row, prepare_threshold=None)
        db.execute("SET default_transaction_isolation = 'read committed'")
        return db

    def fill_in_time(self):
        """False if that does not end: then no call does."""
        self.db.execute(f"SET statement_timeout = '{LONGEST_FILL}s'")
        try:
            self.fill()
        except psycopg.errors.QueryCanceled:
            return False
        self.db.execute(f"SET statement_timeout = '{LONGEST}s'")
        return True

    def fill(self):
        dimension = self.dimension
        self.run(self.holder, dimension.held)
        self.run(self.db, dimension.fill)
        for i in range(self.size if dimension.repeat else 0):
            self.run(self.db, dimension.repeat, {**self.parameters, "i": i})
        self.run(self.holder, dimension.held_after)
        if dimension.analyze:
            self.db.execute("VACUUM (ANALYZE)")

    def run(self, db, statements, parameters=None):
        """Runs statements with parameters put into their text, and returns the parameters with the last rows' columns."""
        parameters = dict(parameters or self.parameters)
        with psycopg.ClientCursor(db, row_factory=dict_row) as cursor:
            for statement in statements:
                cursor.execute(statement, parameters)
                if cursor.description and (row := cursor.fetchone()):
                    parameters |= row
        return parameters

    def measure(self, call):
        """{kind of cost: amount} of one call."""
        if not self.is_filled:
            return ENDLESS
        if call.restart:
            self.restart()
        return self.measure_wakes(call) if self.sleepers else self.measure_call(call)

    def restart(self):
        self.account.restart()
        self.connect()
        self.db.execute("SELECT id FROM pgq_reserve('aside')")  # what any first call of a session does
        self.account.when_quiet(self.name)

    def measure_wakes(self, call):
        """What the call costs its caller, and how often sleepers wake meanwhile and shortly after."""
        wakes = -sum(self.account.wakes(sleeper.pid) for sleeper in self.sleepers)
        cost = self.measure_call(call)
        time.sleep(0.06)
        wakes += sum(self.account.wakes(sleeper.pid) for sleeper in self.sleepers)
        for sleeper in self.sleepers:
            sleeper.sleep_again()
        time.sleep(0.06)
        return {"wakes": wakes, "cpu": cost["cpu"]}

    def measure_call(self, call):
        parameters = self.run(self.db, call.given)
        self.run(self.other, call.meanwhile, parameters)
        self.db.execute("SELECT pg_stat_force_next_flush()")
        if call.meanwhile:
            self.other.execute("SELECT pg_stat_force_next_flush()")
        blocks = self.account.blocks(self.name)
        pid = self.db.info.backend_pid
        cpu = self.account.cpu(pid)
        try:
            for statement in call.sql:
                parameters = self.measured(statement, parameters)
        except psycopg.errors.QueryCanceled:
            return ENDLESS
        cpu = self.account.cpu(pid) - cpu
        self.db.execute("SELECT pg_stat_force_next_flush()")
        blocks = self.account.blocks(self.name) - blocks
        self.run(self.db, call.after, parameters)
        per = max(self.size, 1) if call.per_size else 1
        return {"blocks": blocks / per, "cpu": cpu / per}

    def measured(self, statement, parameters):
        """Runs a statement as drivers do, prepared, and returns the parameters with the last row's columns."""
        if statement.startswith("DO"):  # takes no parameters
            return self.run(self.db, (statement,), parameters)
        cursor = self.db.execute(statement, parameters if "%(" in statement else None, prepare=True)
        row = cursor.fetchone() if cursor.description else None
        return parameters | (row or {})

    def remove(self):
        for db in (self.db, self.other, self.holder, *(sleeper.db for sleeper in self.sleepers)):
            db.close()
        with self.account.server.connect(self.name) as db:
            for (name,) in db.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()").fetchall():
                db.execute(f"ROLLBACK PREPARED '{name}'")
        self.account.db.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.name)))


class Sleeper:
    """A session in pgq_wait."""

    def __init__(self, filled, least):
        self.db, self.least = filled.session(), least
        self.pid = self.db.info.backend_pid
        self.sleep()

    def sleep(self):
        self.db.pgconn.send_query(f"CALL pgq_wait('q', '10 min', {self.least})".encode())

    def sleep_again(self):
        """If it has returned."""
        self.db.pgconn.consume_input()
        if not self.db.pgconn.is_busy():
            while self.db.pgconn.get_result():
                pass
            self.sleep()
