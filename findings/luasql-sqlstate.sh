#!/usr/bin/env bash
# LuaSQL reports an error as a text only, in the language of the server: two errors of different SQLSTATEs look alike, and one error
# looks different after `SET lc_messages`.
#
# Seen: lua-sql-postgres 2.6.0-2 with lua5.1 5.1.5-9 of Debian 12 and PostgreSQL 15.20. A call returns nil and one string, which does
# not hold the SQLSTATE.
set -euo pipefail
. "$(dirname "$0")/server"
(
    cd "$place"
    apt-get download lua-sql-postgres=2.6.0-2 lua5.1=5.1.5-9 2>/dev/null >&2
    for package in *.deb; do dpkg -x "$package" packages; echo "$package"; done
)
lib=$place/packages/usr/lib/$(uname -m)-linux-gnu
LUA_CPATH="$lib/lua/5.1/?.so" LD_LIBRARY_PATH=$lib PORT=$port "$place/packages/usr/bin/lua5.1" - <<'PROGRAM'
local environment = assert(require("luasql.postgres").postgres())
local db = assert(environment:connect("host=127.0.0.1 user=postgres dbname=postgres port=" .. os.getenv("PORT")))
local function failure(sqlstate)
    local results = { db:execute("DO $$ BEGIN RAISE 'message refused' USING ERRCODE = '" .. sqlstate .. "'; END $$") }
    print(sqlstate .. " -> nil, " .. string.format("%q", results[2]))
    assert(results[1] == nil and results[3] == nil, "it gives more than a text")
    assert(not results[2]:find(sqlstate), "the SQLSTATE is in the text")
    return results[2]
end
assert(failure("55P03") == failure("40001"))
PROGRAM
