-- a failed message waits for its backoff, keeps its place and its errors
SELECT pgq_create_queue('fail', '{"max_deliveries": 3, "backoff": {"base": "10 s", "factor": 3, "jitter": 0}}');
SELECT pgq_push('fail', '1') AS id \gset
SELECT pgq_push('fail', '2') AS other \gset
SELECT payload FROM pgq_reserve('fail');
SELECT outcome, round(extract(epoch FROM retry_at - clock_timestamp())) AS after FROM pgq_fail(:id, 'boom', 1);
SELECT state, errors #- '{0,at}' AS errors FROM pgq_get(:id);
SELECT count(*) FROM pgq_fail(:id, 'again', 1);
UPDATE pgqueue.message SET due_at = now() - '1 s'::interval WHERE id = :id;
SELECT payload, delivery FROM pgq_reserve('fail');
SELECT outcome, round(extract(epoch FROM retry_at - clock_timestamp())) AS after FROM pgq_fail_batch(ARRAY[:id], 'bang', ARRAY[2]);
-- delay => overrules the backoff; 0 is now
UPDATE pgqueue.message SET due_at = now() - '1 s'::interval, max_deliveries = 4 WHERE id = :id;
SELECT payload, delivery FROM pgq_reserve('fail');
SELECT outcome, round(extract(epoch FROM retry_at - clock_timestamp())) AS after FROM pgq_fail(:id, 'hour', delay => '1 h');
UPDATE pgqueue.message SET due_at = now() - '1 s'::interval WHERE id = :id;
SELECT payload, delivery FROM pgq_reserve('fail');
-- no delivery is left: dead
SELECT outcome, retry_at FROM pgq_fail(:id, 'enough', 4);
SELECT state, reason, jsonb_path_query_array(errors, '$[*].error') AS errors FROM pgq_get(:id);
SELECT retried, died, dead, total FROM pgq_stats('fail');
-- many at once, each by its own count
SELECT pgq_push('fail', '3', max_deliveries => 1) IS NOT NULL AS pushed;
SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('fail', max => 10) \gset
SELECT outcome, retry_at IS NULL AS for_ever FROM pgq_fail_batch(:'ids'::bigint[], 'both', :'deliveries') ORDER BY outcome;
-- only what is leased can fail
SELECT count(*) FROM pgq_fail(:other, 'not leased');
-- the last ten errors are kept
SELECT pgq_push('patient', '1', max_deliveries => 0) AS id \gset
DO $$ BEGIN
    FOR n IN 1..12 LOOP
        PERFORM * FROM pgq_reserve('patient') m, pgq_fail(m.id, 'try ' || n, m.delivery, '0');
    END LOOP;
END $$;
SELECT delivery, jsonb_array_length(errors), errors -> 0 ->> 'error' AS first, errors -> 9 ->> 'error' AS last FROM pgq_get(:id);
-- of a long error the beginning is kept, whole characters of it
SELECT outcome FROM pgq_reserve('patient') m, pgq_fail(m.id, repeat('x', 4096), m.delivery, '0');
SELECT outcome FROM pgq_reserve('patient') m, pgq_fail(m.id, repeat('x', 4097), m.delivery, '0');
SELECT outcome FROM pgq_reserve('patient') m, pgq_fail(m.id, 'x' || repeat('ü', 4000), m.delivery, '0');
SELECT length(error), octet_length(error), right(error, 22) FROM pgq_get(:id), jsonb_path_query(errors, '$[7 to 9].error') e, LATERAL (SELECT e #>> '{}' AS error) t;
SELECT pgq_bury(:id, repeat('x', 100000000));
SELECT octet_length(errors #>> '{9,error}'), right(errors #>> '{9,error}', 22) FROM pgq_get(:id);
-- a queue without dead letters drops what exceeds its deliveries
SELECT pgq_create_queue('drop', '{"dead_letter": false, "max_deliveries": 1}');
SELECT pgq_push('drop', '1') AS id \gset
SELECT delivery FROM pgq_reserve('drop');
SELECT outcome FROM pgq_fail(:id, 'gone');
SELECT total, died FROM pgq_stats('drop');
SELECT * FROM pgq_get(:id);
-- a lease that runs out on the last delivery: dead, without a worker
SELECT pgq_push('timeout', '1', max_deliveries => 1) AS id \gset
SELECT delivery FROM pgq_reserve('timeout');
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE id = :id;
SELECT pgq_count('timeout');
SELECT delivery FROM pgq_reserve('timeout');
SELECT state, reason, delivery FROM pgq_get(:id);
-- on_timeout dead: an expired lease is not retried
SELECT pgq_create_queue('once', '{"on_timeout": "dead"}');
SELECT pgq_push('once', '1') AS id \gset
SELECT delivery FROM pgq_reserve('once');
SELECT pgq_release(:id) AS released;
SELECT delivery FROM pgq_reserve('once');
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE id = :id;
SELECT pgq_count('once');
SELECT delivery FROM pgq_reserve('once');
SELECT state, reason, delivery FROM pgq_get(:id);
-- 0 is no limit
SELECT pgq_create_queue('tireless', '{"max_deliveries": 0}');
SELECT pgq_push('tireless', '1') AS id \gset
UPDATE pgqueue.message SET deliveries = 1000000 WHERE id = :id;
SELECT delivery FROM pgq_reserve('tireless');
-- time to live: never delivered after it
SELECT pgq_push('ttl', '1', ttl => '1 ms') IS NOT NULL AS pushed;
SELECT pg_sleep(0.005);
SELECT * FROM pgq_reserve('ttl');
SELECT pgq_count('ttl');
SELECT ttl_dropped FROM pgq_vacuum();
SELECT total, expired FROM pgq_stats('ttl');
-- on_expire dead: what outlived its time to live is a dead letter instead
SELECT pgq_create_queue('outlived', '{"on_expire": "dead"}'), pgq_create_queue('outlived and dropped', '{"on_expire": "dead", "dead_letter": false}');
SELECT pgq_push('outlived', '1', ttl => '1 h') AS id \gset
SELECT pgq_push('outlived', '2', ttl => '1 h') AS leased \gset
SELECT pgq_push('outlived', '3') IS NOT NULL AS pushed, pgq_push('outlived and dropped', '1', ttl => '1 h') IS NOT NULL AS pushed_too;
SELECT pgq_release(:id) FROM pgq_reserve('outlived', max => 2) WHERE id = :id;
UPDATE pgqueue.message SET expires_at = now() - '1 s'::interval WHERE expires_at > now();
SELECT payload FROM pgq_reserve('outlived', max => 9);
SELECT ttl_dropped, moved_to_dead FROM pgq_vacuum();
SELECT state, reason, delivery, errors -> 0 ->> 'error' AS error FROM pgq_get(:id);
SELECT state FROM pgq_get(:leased);
SELECT queue, dead, total, expired, died FROM pgq_stats() WHERE queue ~ '^outlived' ORDER BY 1;
-- the lease of the other ends: it is over too
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE id = :leased;
SELECT pgq_count('outlived');
SELECT payload FROM pgq_reserve('outlived', max => 9);
SELECT count(*) FROM pgq_vacuum();
SELECT payload, reason FROM pgq_peek_dead('outlived', 9);
-- sent back, it lives for good
SELECT pgq_redrive('outlived', reason => 'expired');
SELECT payload, delivery FROM pgq_reserve('outlived', max => 9);
