#!/usr/bin/env bash
# An array of bigints that pg-promise has read comes back to the server as an array of texts; a single one does not.
#
# Seen: pg-promise 12.7.1 with pg 8.22.0 on Node.js and PostgreSQL 15.20. It reads a bigint as a string, writes a string with
# quotes, and so a single value fits any type, as a literal of none does, while array['1','2'] is text[].
set -euo pipefail
. "$(dirname "$0")/server"
(cd "$place" && npm install --silent --no-fund --no-audit pg-promise@12.7.1 pg@8.22.0 >/dev/null && npm ls --depth=0 | sed 1d)
sql -c "CREATE FUNCTION gone(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT \$1'" \
    -c "CREATE FUNCTION all_gone(bigint[]) RETURNS bigint LANGUAGE sql AS 'SELECT cardinality(\$1)'" >/dev/null
cat >"$place/program.mjs" <<'PROGRAM'
import assert from 'node:assert'
import pgPromise from 'pg-promise'
const pgp = pgPromise(), db = pgp(`postgres://postgres@127.0.0.1:${process.env.PORT}/postgres`)
const { ids } = await db.one("SELECT '{1,2}'::bigint[] AS ids")
console.log('read', ids)
assert.deepEqual(ids, ['1', '2'])
assert.equal((await db.one('SELECT gone($1) AS id', [ids[0]])).id, '1')
console.log('sent as', pgp.as.format('$1', [ids]))
const error = await db.one('SELECT all_gone($1)', [ids]).catch(error => error)
console.log(error.code, error.message)
assert.equal(error.code, '42883')
assert.equal((await db.one('SELECT all_gone($1::bigint[]) AS n', [ids])).n, '2')
pgp.end()
PROGRAM
PORT=$port node "$place/program.mjs"
