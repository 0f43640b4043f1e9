#!/usr/bin/env bash
# In pgmq two queues whose names differ in case are one table, and dropping one takes the other's messages.
#
# Seen: pgmq 1.11.1 (crate 0.33.7) with PostgreSQL 15.20 on Debian 12. The second create succeeds, both names are listed, a read of
# either gives the messages of both; after drop_queue of the first the second is still listed, and has no table.
set -euo pipefail
. "$(dirname "$0")/server"
pgmq 0.33.7
sql -c "SELECT pgmq.create('Orders')" -c "SELECT pgmq.create('orders')" 2>/dev/null
sql -c "SELECT pgmq.send('Orders', '\"of Orders\"')" >/dev/null
expect "SELECT string_agg(queue_name, ' ' ORDER BY queue_name COLLATE \"C\") FROM pgmq.list_queues()" "Orders orders"
expect "SELECT message FROM pgmq.read('orders', 0, 10)" '"of Orders"'
expect "SELECT pgmq.drop_queue('Orders')" t
expect "SELECT queue_name FROM pgmq.list_queues()" orders
expect "SELECT pgmq.send('orders', '1')" 'ERROR:  relation "pgmq.q_orders" does not exist'
