#!/usr/bin/env bash
# pgmq's metrics count messages whose transaction was rolled back.
#
# Seen: pgmq 1.11.1 (crate 0.33.7) with PostgreSQL 15.20 on Debian 12. total_messages is the last value of
# the table's sequence, which no rollback takes back.
set -euo pipefail
. "$(dirname "$0")/server"
pgmq 0.33.7
sql -c "SELECT pgmq.create('q')" -c "SELECT pgmq.send('q', '1')" >/dev/null
expect "SELECT total_messages FROM pgmq.metrics('q')" 1
sql -c "BEGIN" -c "SELECT pgmq.send_batch('q', array_fill('1'::jsonb, ARRAY[100]))" -c "ROLLBACK" >/dev/null
expect "SELECT total_messages FROM pgmq.metrics('q')" 101
expect "SELECT queue_length FROM pgmq.metrics('q')" 1
