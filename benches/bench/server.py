"""A private PostgreSQL server to measure on, in a temporary directory, on a socket only."""

import atexit
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import psycopg

BIN = pathlib.Path(os.environ["PGQUEUE_BINDIR"])

SETTINGS = """
listen_addresses = ''
shared_preload_libraries = 'pgqueue'
max_connections = 300
max_worker_processes = 32
shared_buffers = 2GB
max_wal_size = 16GB
checkpoint_timeout = 30min
jit = off
"""


def as_server(*command, **options):
    """Runs a command as the user the server runs as: PostgreSQL refuses to be root."""
    if os.getuid() == 0:
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--", *command]
    return subprocess.run([str(part) for part in command], check=True, cwd="/", **options)


class Server:
    def __init__(self, settings=""):
        """`settings` are lines of postgresql.conf, beside those of all scenarios."""
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="pgqueue."))
        self.place.chmod(0o777)
        self.data = self.place / "data"
        atexit.register(self.remove)
        quiet = {"stdout": subprocess.DEVNULL}
        as_server(BIN / "initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-D", self.data, **quiet)
        with open(self.data / "postgresql.conf", "a") as config:
            config.write(f"{SETTINGS}{settings}\nunix_socket_directories = '{self.place}'\n")
        self.start()
        self.run("CREATE EXTENSION pgqueue")

    def start(self):
        as_server(BIN / "pg_ctl", "start", "-w", "-s", "-D", self.data, "-l", self.place / "log", stdout=subprocess.DEVNULL)

    def stop(self, mode="fast"):
        as_server(BIN / "pg_ctl", "stop", "-w", "-s", "-m", mode, "-D", self.data)

    def remove(self):
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.place, ignore_errors=True)

    def cpu(self):
        """Seconds of CPU of the server, with those of its processes that have ended."""
        pid = (self.data / "postmaster.pid").read_text().split()[0]
        fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    @property
    def environment(self):
        return {**os.environ, "PGHOST": str(self.place), "PGUSER": "postgres", "PGDATABASE": "postgres", "PGPORT": "5432"}

    @property
    def address(self):
        return f"host={self.place} user=postgres dbname=postgres"

    def connect(self, database="postgres", **options):
        return psycopg.connect(f"host={self.place} user=postgres dbname={database}", autocommit=True, **options)

    @contextlib.contextmanager
    def pinned_horizon(self):
        """An old transaction, which holds back every vacuum."""
        with self.connect() as holder:
            holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            holder.execute("SELECT 1 FROM pg_class")
            yield
            holder.execute("ROLLBACK")

    def run(self, *statements):
        with self.connect() as db:
            for statement in statements:
                db.execute(statement)

    def one(self, statement):
        with self.connect() as db:
            return db.execute(statement).fetchone()[0]
