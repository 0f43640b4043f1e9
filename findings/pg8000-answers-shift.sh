#!/usr/bin/env bash
# After a value that pg8000 cannot convert, a connection answers each query with the rows of an earlier one.
#
# Seen: pg8000 1.31.6 with PostgreSQL 15.20 on Debian 12. The conversion raises ValueError in the middle of the server's answer; the
# rest of that answer is read as the answer to the next query, and so on. Autocommit, no transaction, no thread is involved.
set -euo pipefail
. "$(dirname "$0")/server"
python pg8000==1.31.6 <<'PROGRAM'
import os

import pg8000.native

db = pg8000.native.Connection("postgres", host="127.0.0.1", port=int(os.environ["PORT"]))
try:
    db.run("SELECT time '24:00'")  # midnight at the end of a day, which Python's time does not have
    raise SystemExit("no error")
except ValueError as error:
    print("SELECT time '24:00' ->", error)
answers = []
for n in range(1, 7):
    try:
        answers.append(db.run(f"SELECT {n}")[0][0])
    except TypeError as error:
        answers.append(type(error).__name__)
    print(f"SELECT {n} -> {answers[-1]}")
later = [(asked, answer) for asked, answer in enumerate(answers, 1) if isinstance(answer, int)]
assert later and all(answer < asked for asked, answer in later), later
PROGRAM
