"""Scenario c: CPU of the backend for each row of a captured table, against a trigger written by hand."""

import statistics

from .measure import cpu_of, progress, size, spread
from .server import Server

TABLE = "id int PRIMARY KEY, name text, price numeric, made timestamptz, is_new bool"

# The payload of pgq_capture, by hand.
BY_HAND = """
CREATE FUNCTION by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pgq_push('by hand', jsonb_build_object(
        'op', CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
        'table', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME,
        'key', jsonb_build_object('id', coalesce(NEW.id, OLD.id)),
        'old', to_jsonb(OLD), 'new', to_jsonb(NEW)));
    RETURN NULL;
END $$"""

TRIGGERS = {
    "no trigger": (),
    "by hand": ("AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION by_hand()",),
    "each row": ("AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION pgq_capture('rows')",),
    "each statement": tuple(
        f"AFTER {event} ON {{table}} REFERENCING {tables} FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('statements')"
        for event, tables in (
            ("INSERT", "NEW TABLE AS n"),
            ("UPDATE", "OLD TABLE AS o NEW TABLE AS n"),
            ("DELETE", "OLD TABLE AS o"),
        )
    ),
}

STATEMENTS = {
    "insert": "INSERT INTO {table} SELECT n, md5(n::text), n / 100.0, '2026-01-01 12:00Z', n % 2 = 0 FROM generate_series(1, {rows}) n",
    "update": "UPDATE {table} SET price = price + 1",
    "delete": "DELETE FROM {table}",
}


def measure():
    server, rows = Server(), size(10_000, 1_000)
    server.run(BY_HAND)
    tables = {name: f"captured_{n}" for n, name in enumerate(TRIGGERS)}
    for name, triggers in TRIGGERS.items():
        server.run(f"CREATE TABLE {tables[name]} ({TABLE})")
        for n, trigger in enumerate(triggers):
            server.run(f"CREATE TRIGGER capture_{n} {trigger.format(table=tables[name])}")
    spent = {(name, event): [] for name in TRIGGERS for event in STATEMENTS}
    with server.connect() as db:
        db.execute("SET synchronous_commit = off")
        for turn in range(size(9, 3)):
            progress(f"capture, round {turn + 1}")
            for event, statement in STATEMENTS.items():
                for name, table in tables.items():
                    before = cpu_of(db)
                    db.execute(statement.format(table=table, rows=rows))
                    spent[name, event].append((cpu_of(db) - before) / rows)
            for queue in ("by hand", "rows", "statements"):
                db.execute("SELECT pgq_purge(%s)", (queue,))
            db.execute("VACUUM")
    server.remove()
    ratios = {
        f"{name}, {event}": spread([one / other for one, other in zip(spent[name, event], spent["by hand", event])])
        for name in ("each row", "each statement")
        for event in STATEMENTS
    }
    return {"rows": rows, "us": {", ".join(key): statistics.median(all) for key, all in spent.items()}, "ratios": ratios}
