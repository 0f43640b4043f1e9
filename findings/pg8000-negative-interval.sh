#!/usr/bin/env bash
# pg8000 applies the sign of an interval's time to its hours alone.
#
# Seen: pg8000 1.31.6 with PostgreSQL 15.20 on Debian 12. '-00:00:01' is read as one second, and '-01:30:00' as minus half an hour:
# minus one hour, plus thirty minutes. '-1 day' is read right.
set -euo pipefail
. "$(dirname "$0")/server"
python pg8000==1.31.6 <<'PROGRAM'
import os
from datetime import timedelta

import pg8000.native

db = pg8000.native.Connection("postgres", host="127.0.0.1", port=int(os.environ["PORT"]))
seen = {text: db.run(f"SELECT interval '{text}'")[0][0] for text in ("-00:00:01", "-01:30:00", "-1 day", "00:00:01")}
for text, value in seen.items():
    print(f"{text:>10} -> {value!r}")
assert seen["-00:00:01"] == timedelta(seconds=1) and seen["-01:30:00"] == timedelta(minutes=-30)
assert seen["-1 day"] == timedelta(days=-1) and seen["00:00:01"] == timedelta(seconds=1)
PROGRAM
