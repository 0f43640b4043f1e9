-- LuaSQL, which has no parameters: literals.
local loaded, driver = pcall(require, "luasql.postgres")
if not loaded then return end
local db = driver.postgres():connect(os.getenv("PGDATABASE"), os.getenv("PGUSER"), "", os.getenv("PGHOST"), os.getenv("PGPORT"))
local client = driver._VERSION

local function say(check, ok, seen) print(client .. "\t" .. check .. "\t" .. (ok and "ok" or "FAILED") .. "\t" .. (seen or "")) end
local function run(sql, ...)
    local cursor, problem = db:execute(string.format(sql, ...))
    if not cursor then return nil, problem end
    local rows, row = {}, cursor:fetch({}, "n")
    while row do rows[#rows + 1], row = row, cursor:fetch({}, "n") end
    cursor:close()
    return rows
end

local id, delivery
for n = 0, 5 do id = run("SELECT pgq_push('lua', '{\"n\": %d}', priority => %d)", n, -n)[1][1] end
say("push", math.tointeger(id) > 2^53, type(id))
local function reserve(max) return run("SELECT id, delivery FROM pgq_reserve('lua', max => %d)", max) end
id, delivery = table.unpack(reserve(1)[1])
say("extend", #run("SELECT * FROM pgq_extend(%s, '1 min', %s)", id, delivery) == 1)
say("release", run("SELECT pgq_release(%s, '0', %s)", id, delivery)[1][1] == "t")
id, delivery = table.unpack(reserve(1)[1])
say("fail", run("SELECT outcome FROM pgq_fail(%s, 'no', %s)", id, delivery)[1][1] == "retry")
id, delivery = table.unpack(reserve(1)[1])
say("delete", run("SELECT pgq_delete(%s, %s)", id, delivery)[1][1] == "t")
local refused = run("SELECT pgq_delete(%s, %s)", id, delivery)[1][1]
say("refused", true, "'" .. refused .. "', " .. (refused and "true" or "false"))
local _, problem = run("SELECT pgq_delete(%s, %s, strict => true)", id, delivery)
say("strict", problem and problem:find("was refused", 1, true) ~= nil, "the error's text; LuaSQL gives no SQLSTATE")
local rows = reserve(2)
say("batch", #run("SELECT pgq_delete_batch('{%s,%s}', '{%s,%s}')", rows[1][1], rows[2][1], rows[1][2], rows[2][2]) == 2, "array literals by hand")
say("empty batch", #run("SELECT pgq_delete_batch('{}', '{}')") == 0)
local receipt = run("SELECT receipt FROM pgq_reserve('lua', max => 1)")[1][1]
local longer = #run("SELECT * FROM pgq_extend_by_receipt('%s', '1 min')", receipt) == 1
say("receipt", longer and run("SELECT pgq_delete_by_receipt('%s')", receipt)[1][1] == "t", type(receipt))
say("seconds", tonumber(run("SELECT oldest_ready_seconds FROM pgq_stats('lua')")[1][1]) ~= nil)
