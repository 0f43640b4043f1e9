INSERT INTO pgqueue.schedule (name, owner, queue, every, time_zone, payload, headers, priority, ttl_ms,
                              group_key, dedup_key, on_duplicate, lease_ms, max_deliveries,
                              query, search_path, max_changes, next_run, last_run)
VALUES ($1, $2::name, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
ON CONFLICT DO NOTHING -- any index: see create_queue.sql
