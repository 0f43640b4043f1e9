# tdbc::postgres; Pgtcl.

proc say {client check ok {seen ""}} { puts [join [list $client $check [expr {$ok ? "ok" : "FAILED"}] $seen] \t] }

# `run` takes a text with $1, $2 and values, and gives rows as lists; `state` gives the SQLSTATE of what it raised.
proc worker {client run state} {
    for {set n 0} {$n < 6} {incr n} {
        set id [lindex [{*}$run {SELECT pgq_push($1, $2, priority => $3)} $client "{\"n\": $n}" [expr {-$n}]] 0 0]
    }
    say $client push [expr {$id > 2 ** 53}]
    lassign [lindex [{*}$run {SELECT id, delivery FROM pgq_reserve($1, max => $2)} $client 1] 0] id delivery
    say $client extend [expr {[llength [{*}$run {SELECT * FROM pgq_extend($1, $2, $3)} $id {1 min} $delivery]] == 1}]
    say $client release [lindex [{*}$run {SELECT pgq_release($1, $2, $3)} $id 0 $delivery] 0 0]
    lassign [lindex [{*}$run {SELECT id, delivery FROM pgq_reserve($1, max => $2)} $client 1] 0] id delivery
    say $client fail [expr {[lindex [{*}$run {SELECT outcome FROM pgq_fail($1, $2, $3)} $id no $delivery] 0 0] eq "retry"}]
    lassign [lindex [{*}$run {SELECT id, delivery FROM pgq_reserve($1, max => $2)} $client 1] 0] id delivery
    say $client delete [lindex [{*}$run {SELECT pgq_delete($1, $2)} $id $delivery] 0 0]
    set refused [lindex [{*}$run {SELECT pgq_delete($1, $2)} $id $delivery] 0 0]
    say $client refused [expr {!$refused}] "'$refused', [expr {$refused ? "true" : "false"}]"
    set failed [catch {{*}$run {SELECT pgq_delete($1, $2, strict => true)} $id $delivery} message options]
    set code [expr {$failed ? [{*}$state $message [dict get $options -errorcode]] : "no error"}]
    say $client strict [expr {$code eq "P0002"}] $code
    set rows [{*}$run {SELECT id, delivery FROM pgq_reserve($1, max => $2)} $client 2]
    set ids "{[join [lmap row $rows {lindex $row 0}] ,]}"
    set deliveries "{[join [lmap row $rows {lindex $row 1}] ,]}"
    say $client batch [expr {[llength [{*}$run {SELECT pgq_delete_batch($1, $2)} $ids $deliveries]] == 2}] {array literals by hand}
    say $client {empty batch} [expr {[llength [{*}$run {SELECT pgq_delete_batch($1, $2)} {{}} {{}}]] == 0}]
    set receipt [lindex [{*}$run {SELECT receipt FROM pgq_reserve($1, max => $2)} $client 1] 0 0]
    set longer [expr {[llength [{*}$run {SELECT * FROM pgq_extend_by_receipt($1, $2)} $receipt {1 min}]] == 1}]
    say $client receipt [expr {$longer && [lindex [{*}$run {SELECT pgq_delete_by_receipt($1)} $receipt] 0 0]}]
    say $client seconds [string is double -strict [lindex [{*}$run {SELECT oldest_ready_seconds FROM pgq_stats($1)} $client] 0 0]]
}

proc over_tdbc {sql args} {
    set values {}
    foreach value $args { dict set values p[incr n] $value }
    set statement [db prepare [regsub -all {\$(\d)} $sql {:p\1}]]
    try { return [$statement allrows -as lists $values] } finally { $statement close }
}
if {![catch {package require tdbc::postgres} version]} {
    tdbc::postgres::connection create db -host $env(PGHOST) -port $env(PGPORT) -user $env(PGUSER) -db $env(PGDATABASE)
    # {TDBC class SQLSTATE driver …}
    worker "tdbc::postgres $version" over_tdbc {apply {{message code} {lindex $code 2}}}
}

proc over_pgtcl {sql args} {
    set result [pg_exec $::connection $sql {*}$args]
    try {
        if {[pg_result $result -error] ne ""} { error [pg_result $result -error] "" [list PG [pg_result $result -error sqlstate]] }
        return [pg_result $result -llist]
    } finally { pg_result $result -clear }
}
if {![catch {package require Pgtcl} version]} {
    set connection [pg_connect -conninfo ""]
    worker "Pgtcl $version" over_pgtcl {apply {{message code} {lindex $code 1}}}
}
