#!/usr/bin/env bash
# py-postgresql cannot connect to a server whose version has a suffix, as Debian's and Ubuntu's packages have.
#
# Seen: py-postgresql 1.3.1 with PostgreSQL 15.20 on Debian 12, whose server_version is "15.20 (Debian 15.20-0+deb12u1)":
# ValueError: invalid literal for int().
set -euo pipefail
. "$(dirname "$0")/server"
python py-postgresql==1.3.1 <<'PROGRAM'
import os

import postgresql

try:
    postgresql.open(f"pq://postgres@127.0.0.1:{os.environ['PORT']}/postgres")
    raise SystemExit("it connects")
except ValueError as error:
    print(error)
    assert "invalid literal for int() with base 10: '20 (Debian" in str(error)
PROGRAM
