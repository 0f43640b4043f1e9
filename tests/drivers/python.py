"""psycopg 3, psycopg2, pg8000, asyncpg, SQLAlchemy over three of them, Django's cursor."""

import asyncio
import importlib
import os
from datetime import timedelta

USER, DATABASE, HOST, PORT = (os.environ[name] for name in ("PGUSER", "PGDATABASE", "PGHOST", "PGPORT"))


def say(client, check, ok, seen=""):
    print(client, check, "ok" if ok else "FAILED", seen, sep="\t", flush=True)


def sqlstate(error):
    error = getattr(error, "orig", None) or error.__cause__ or error
    for name in ("sqlstate", "pgcode"):
        if getattr(error, name, None):
            return getattr(error, name)
    return error.args[0].get("C") if error.args and isinstance(error.args[0], dict) else None


def loop(client, run, mark, payload, rollback=lambda: None, empty=None):
    """What a worker says; `run` gives rows, `mark` is how the client writes its nth parameter."""
    queue = "q " + client
    sql = lambda text: text.replace("?", "{}").format(*(mark(n) for n in range(1, text.count("?") + 1)))
    push = sql("SELECT pgq_push(?, ?, priority => ?)")
    for n in range(6):
        id = run(push, queue, payload(n), -n)[0][0]
    say(client, "push", id > 2**53, type(id).__name__)
    reserve = sql("SELECT id, delivery FROM pgq_reserve(?, max => ?)")
    ((id, delivery),) = run(reserve, queue, 1)
    say(client, "extend", len(run(sql("SELECT * FROM pgq_extend(?, ?, ?)"), id, timedelta(minutes=1), delivery)) == 1)
    say(client, "release", run(sql("SELECT pgq_release(?, ?, ?)"), id, timedelta(0), delivery)[0][0] is True)
    ((id, delivery),) = run(reserve, queue, 1)
    say(client, "fail", run(sql("SELECT outcome FROM pgq_fail(?, ?, ?)"), id, "no", delivery)[0][0] == "retry")
    ((id, delivery),) = run(reserve, queue, 1)
    say(client, "delete", run(sql("SELECT pgq_delete(?, ?)"), id, delivery)[0][0] is True)
    refused = run(sql("SELECT pgq_delete(?, ?)"), id, delivery)[0][0]
    say(client, "refused", refused is False, repr(refused))
    try:
        run(sql("SELECT pgq_delete(?, ?, strict => true)"), id, delivery)
        say(client, "strict", False, "no error")
    except Exception as error:
        say(client, "strict", sqlstate(error) == "P0002", sqlstate(error))
        rollback()
    rows = run(reserve, queue, 2)
    ids, deliveries = [row[0] for row in rows], [row[1] for row in rows]
    say(client, "batch", len(run(sql("SELECT pgq_delete_batch(?, ?)"), ids, deliveries)) == 2)
    say(client, "empty batch", run(sql("SELECT pgq_delete_batch(?, ?)"), [], []) == [])
    ((receipt,),) = run(sql("SELECT receipt FROM pgq_reserve(?, max => ?)"), queue, 1)
    longer = len(run(sql("SELECT * FROM pgq_extend_by_receipt(?, ?)"), receipt, timedelta(minutes=1))) == 1
    deleted = run(sql("SELECT pgq_delete_by_receipt(?)"), receipt)[0][0]
    say(client, "receipt", longer and deleted is True, type(receipt).__name__)
    seconds = run(sql("SELECT oldest_ready_seconds FROM pgq_stats(?)"), queue)[0][0]
    say(client, "seconds", isinstance(seconds, float), type(seconds).__name__)


def psycopg3(name, module):
    from psycopg.types.json import Jsonb

    with module.connect(autocommit=True) as db:
        loop(f"{name} {module.__version__}", lambda sql, *args: db.execute(sql, args).fetchall(), lambda n: "%s", Jsonb)


def psycopg2(name, module):
    db = module.connect("")
    db.autocommit = True
    cursor = db.cursor()

    def run(sql, *args):
        cursor.execute(sql, args)
        return cursor.fetchall()

    loop(f"{name} {module.__version__.split()[0]}", run, lambda n: "%s", lambda value: module.extras.Json(value))


def pg8000(name, module):
    db = module.connect(USER, unix_sock=f"{HOST}/.s.PGSQL.{PORT}", database=DATABASE)
    db.autocommit = True
    cursor = db.cursor()

    def run(sql, *args):
        cursor.execute(sql, args)
        return [tuple(row) for row in cursor.fetchall()]

    loop(f"{name} {module.__version__}", run, lambda n: "%s", lambda value: {"n": value})


def asyncpg(name, module):
    events = asyncio.new_event_loop()
    db = events.run_until_complete(module.connect(user=USER, database=DATABASE, host=HOST, port=int(PORT)))
    run = lambda sql, *args: [tuple(row) for row in events.run_until_complete(db.fetch(sql, *args))]
    loop(f"{name} {module.__version__}", run, lambda n: f"${n}", str)


def sqlalchemy(name, module):
    for driver, payload in ("psycopg", None), ("pg8000", None), ("psycopg2", None):
        url = module.URL.create("postgresql+" + driver, USER, database=DATABASE, query=(
            {"unix_sock": f"{HOST}/.s.PGSQL.{PORT}"} if driver == "pg8000" else {"host": HOST, "port": PORT}))
        db = module.create_engine(url).connect().execution_options(isolation_level="AUTOCOMMIT")

        def run(sql, *args):
            named = {f"p{n}": value for n, value in enumerate(args, 1)}
            return [tuple(row) for row in db.execute(module.text(sql), named)]

        loop(f"{name} {module.__version__} on {driver}", run, lambda n: f":p{n}", str)


def django(name, module):
    from django.conf import settings

    settings.configure(DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": DATABASE, "USER": USER, "HOST": HOST, "PORT": PORT}})
    module.setup()
    from django.db import connection
    from psycopg.types.json import Jsonb

    def run(sql, *args):
        with connection.cursor() as cursor:
            cursor.execute(sql, args)
            return cursor.fetchall()

    loop(f"{name} {module.__version__}", run, lambda n: "%s", Jsonb)


if __name__ == "__main__":
    for client in psycopg3, psycopg2, pg8000, asyncpg, sqlalchemy, django:
        name = client.__name__.replace("psycopg3", "psycopg")
        try:
            module = importlib.import_module(name)
            if name == "psycopg2":
                importlib.import_module("psycopg2.extras")
        except ImportError:
            continue
        try:
            client(name, module)
        except Exception as error:
            say(name, "all", False, f"{type(error).__name__}: {error}".replace("\n", " "))
