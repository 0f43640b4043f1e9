#!/usr/bin/env bash
# LuaDBI keeps the lower 32 bits of a bigint, without an error.
#
# Seen: lua-dbi-postgresql 0.7.2-4 with lua5.1 5.1.5-9 of Debian 12 and PostgreSQL 15.20. 2147483648 is read as -2147483648, and
# 4294967297 as 1; as numeric, both are right. Lua's numbers would hold whole numbers up to 2^53.
set -euo pipefail
. "$(dirname "$0")/server"
(
    cd "$place"
    apt-get download lua-dbi-postgresql=0.7.2-4 lua-dbi-common=0.7.2-4 lua5.1=5.1.5-9 2>/dev/null >&2
    for package in *.deb; do dpkg -x "$package" packages; echo "$package"; done
)
lib=$place/packages/usr/lib/$(uname -m)-linux-gnu
LUA_PATH="$place/packages/usr/share/lua/5.1/?.lua" LUA_CPATH="$lib/lua/5.1/?.so" LD_LIBRARY_PATH=$lib PORT=$port \
    "$place/packages/usr/bin/lua5.1" - <<'PROGRAM'
local db = assert(require("DBI").Connect("PostgreSQL", "postgres", "postgres", "", "127.0.0.1", tonumber(os.getenv("PORT"))))
local function one(expression)
    local statement = assert(db:prepare("SELECT " .. expression))
    assert(statement:execute())
    local value = statement:fetch(false)[1]
    print(expression .. " -> " .. tostring(value))
    return value
end
assert(one("2147483647::bigint") == 2147483647)
assert(one("2147483648::bigint") == -2147483648)
assert(one("4294967297::bigint") == 1)
assert(one("4294967297::numeric") == 4294967297)
PROGRAM
