-- priority first, then the order of the pushes
SELECT pgq_push('order', '"b"') IS NOT NULL, pgq_push('order', '"c"', priority => 7) IS NOT NULL,
       pgq_push('order', '"a"', priority => -32768) IS NOT NULL, pgq_push('order', '"b2"') IS NOT NULL;
SELECT payload, priority FROM pgq_peek('order', max => 10);
SELECT payload FROM pgq_reserve('order', max => 3);
-- an urgent message overtakes all that is left
SELECT pgq_push('order', '"urgent"', priority => -1) IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('order', max => 10);
SELECT payload FROM pgq_reserve('order', max => 10);
-- a due message takes its place among the ready ones
SELECT pgq_push('merge', '1') IS NOT NULL AS pushed;
SELECT pgq_push('merge', '2', delay => '1 h') IS NOT NULL AS pushed;
SELECT pgq_push('merge', '3') IS NOT NULL AS pushed;
SELECT pgq_push('merge', '0', delay => '1 h', priority => -5) IS NOT NULL AS pushed;
UPDATE pgqueue.message SET due_at = now() - '1 s'::interval WHERE lane = 'd';
SELECT payload FROM pgq_reserve('merge', max => 10);
-- last in, first out, by call and by queue, within each priority
SELECT count(*) FROM pgq_push_batch('stack', ARRAY['1', '2', '3']::jsonb[]);
SELECT count(*) FROM pgq_push_batch('stack', ARRAY['11', '12']::jsonb[], priority => 1);
SELECT payload FROM pgq_reserve('stack', max => 2, lifo => true);
SELECT pgq_alter_queue('stack', '{"order": "lifo"}');
SELECT payload FROM pgq_pop('stack', max => 2);
SELECT payload FROM pgq_pop('stack', max => 2, lifo => false);
-- a filter on headers; what it skips is there for others
SELECT count(*) FROM pgq_push_batch('filter', ARRAY['1', '2', '3', '4']::jsonb[],
    headers => ARRAY['{"kind": "a", "n": 1}', '{"kind": "b"}', '{"kind": "a", "n": 2}', NULL]::jsonb[]);
SELECT payload FROM pgq_reserve('filter', max => 10, filter => '{"kind": "a", "n": 2}');
SELECT payload FROM pgq_pop('filter', max => 10, filter => '{"kind": "a"}');
SELECT payload FROM pgq_reserve('filter', max => 10);
-- what was looked at and put off meanwhile is not due
SELECT pgq_push('off', '1') IS NOT NULL AS pushed;
BEGIN;
SELECT payload FROM pgq_reserve('off');
SAVEPOINT s;
ROLLBACK TO s;
SELECT outcome FROM pgq_fail((SELECT id FROM pgqueue.message WHERE queue = (SELECT id FROM pgqueue.queue WHERE name = 'off')), 'no', delay => '1 h');
COMMIT;
SELECT payload FROM pgq_reserve('off');
-- pop takes for good
SELECT pgq_push('pop', '1') IS NOT NULL AS pushed;
SELECT payload, delivery, leased_until FROM pgq_pop('pop');
SELECT total, pushed, delivered, deleted FROM pgq_stats('pop');
-- next: what is done goes, what is next comes
SELECT count(*) FROM pgq_push_batch('next', ARRAY['1', '2', '3']::jsonb[]);
SELECT array_agg(id) AS done, array_agg(delivery) AS deliveries, jsonb_agg(payload) FROM pgq_next('next', NULL, max => 2) \gset
SELECT payload, delivery FROM pgq_next('next', :'done', :'deliveries', max => 2);
SELECT leased, total, deleted FROM pgq_stats('next');
SELECT payload FROM pgq_next('next', '{}');
-- peek shows each state and changes nothing
SELECT pgq_push('peek', '"ready"') IS NOT NULL, pgq_push('peek', '"leased"', priority => -1) IS NOT NULL,
       pgq_push('peek', '"delayed"', delay => '1 h') IS NOT NULL;
SELECT payload FROM pgq_reserve('peek');
SELECT state, payload, delivery, leased_until IS NOT NULL AS has_lease
  FROM unnest(ARRAY['ready', 'leased', 'delayed', 'blocked']) AS state, pgq_peek('peek', max => 9, state => state);
SELECT ready, delayed, leased, blocked, delivered FROM pgq_stats('peek');
-- the length of a lease: the call's, the message's, the queue's, the server's
SELECT pgq_create_queue('lease', '{"lease": "200 s"}');
SELECT count(*) FROM pgq_push_batch('lease', ARRAY['1', '2']::jsonb[], lease => '300 s');
SELECT pgq_push('lease', '3') IS NOT NULL AS pushed;
SELECT pgq_push('default lease', '4') IS NOT NULL AS pushed;
CREATE FUNCTION seconds(timestamptz) RETURNS numeric LANGUAGE sql AS
$$ SELECT round(extract(epoch FROM $1 - clock_timestamp())) $$;
SELECT payload, seconds(leased_until) FROM pgq_reserve('lease', lease => '400 s');
SELECT payload, seconds(leased_until) FROM pgq_reserve('lease', max => 2);
SELECT payload, seconds(leased_until) FROM pgq_reserve('default lease');
DROP FUNCTION seconds;
-- unknown and empty queues give no rows
SELECT * FROM pgq_reserve('nobody knows');
SELECT * FROM pgq_pop('nobody knows');
SELECT * FROM pgq_peek('nobody knows');
SELECT * FROM pgq_next('nobody knows', NULL);
SELECT pgq_count('nobody knows');
SELECT * FROM pgq_stats('nobody knows');
SELECT * FROM pgq_get(-1);
CALL pgq_wait('nobody knows', '1 ms');
-- it warns once in a row of a queue that is missing, and sleeps
CALL pgq_wait('nobody knows', '1 ms');
CALL pgq_wait('nor this', '1 ms');
CALL pgq_wait('nobody knows', '1 ms', 1, true);
SELECT pgq_create_queue('nobody knows');
CALL pgq_wait('nobody knows', '1 ms');
SELECT pgq_drop_queue('nobody knows');
CALL pgq_wait('nobody knows', '1 ms');
DO $$
DECLARE r boolean;
BEGIN
    PERFORM pgq_push('found', '1');
    CALL pgq_wait('found', '20 s', ready => r);
    RAISE NOTICE 'ready: %', r;
    CALL pgq_wait('found', '1 ms', 2, r);
    RAISE NOTICE 'ready: %', r;
END $$;
DO $$ BEGIN CALL pgq_wait('found', '1 ms'); END $$;
SELECT pgq_drop_queue('found');
-- a paused queue takes and does not give
SELECT pgq_push('paused', '1') IS NOT NULL AS pushed;
SELECT pgq_pause('paused'), pgq_pause('paused');
SELECT pgq_push('paused', '2') IS NOT NULL AS pushed;
SELECT * FROM pgq_reserve('paused');
SELECT pgq_count('paused');
SELECT pgq_resume('paused'), pgq_resume('paused');
SELECT payload FROM pgq_reserve('paused', max => 10);
-- an empty poll takes no transaction id
BEGIN;
SELECT * FROM pgq_reserve('paused');
SELECT * FROM pgq_pop('nobody knows');
SELECT * FROM pgq_next('paused', NULL);
SELECT pgq_delete(-1), pgq_release(-1), (SELECT count(*) FROM pgq_extend(-1, '1 s'));
SELECT pg_current_xact_id_if_assigned() AS xid;
COMMIT;
-- more is due than a call looks at
SELECT count(*) FROM pgq_push_batch('due', (SELECT array_agg(to_jsonb(n)) FROM generate_series(1, 600) n), delay => '1 ms');
SELECT pg_sleep(0.01);
SELECT count(*), count(DISTINCT id) FROM pgq_peek('due', max => 1000);
CALL pgq_wait('due', '20 s', min => 500);
SELECT pgq_purge('due'), pgq_drop_queue('due');
