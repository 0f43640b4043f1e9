#!/usr/bin/env bash
# asyncpg gives an infinite timestamptz without a time zone, and all others with one.
#
# Seen: asyncpg 0.32.0 with PostgreSQL 15.20 on Debian 12. 'infinity' and '-infinity' come as datetime.max and datetime.min, which are
# naive; a comparison with any other timestamptz of the same column raises TypeError.
set -euo pipefail
. "$(dirname "$0")/server"
python asyncpg==0.32.0 <<'PROGRAM'
import asyncio
import os

import asyncpg


async def main():
    db = await asyncpg.connect(f"postgres://postgres@127.0.0.1:{os.environ['PORT']}/postgres")
    never, epoch = [
        row[0] for row in await db.fetch("SELECT at FROM (VALUES (timestamptz '-infinity'), ('epoch')) due (at)")
    ]
    print(repr(never), repr(epoch))
    assert never.tzinfo is None and epoch.tzinfo is not None
    try:
        never < epoch
        raise SystemExit("they can be compared")
    except TypeError as error:
        print("TypeError:", error)


asyncio.run(main())
PROGRAM
