-- How many may be out at once, and how many may be in.
SELECT pgq_create_queue('out', '{"max_leased": 3}');
SELECT count(*) FROM pgq_push_batch('out', ARRAY['1', '2', '3', '4', '5', '6']::jsonb[]);
SELECT payload FROM pgq_reserve('out', max => 2);
SELECT payload FROM pgq_reserve('out', max => 5);
SELECT payload FROM pgq_reserve('out', max => 5);
-- each way of settling lets another out
SELECT pgq_delete(id) FROM pgqueue.message WHERE payload = '1';
SELECT payload FROM pgq_reserve('out', max => 5);
SELECT outcome FROM pgq_fail((SELECT id FROM pgqueue.message WHERE payload = '2'), 'no', delay => '1 h');
SELECT payload FROM pgq_reserve('out', max => 5);
SELECT pgq_release(id) FROM pgqueue.message WHERE payload = '3';
SELECT payload FROM pgq_reserve('out', max => 5);
SELECT pgq_bury(id, 'no') FROM pgqueue.message WHERE payload = '3';
SELECT payload FROM pgq_reserve('out', max => 5);
-- a lease that ends does as well
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE payload = '4';
SELECT payload, delivery FROM pgq_reserve('out', max => 5);
-- what is rolled back was not out
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE payload = '4';
BEGIN;
SELECT payload FROM pgq_reserve('out', max => 5);
ROLLBACK;
SELECT payload FROM pgq_reserve('out', max => 5);
-- pop does not count
SELECT pgq_push('out', '7') IS NOT NULL AS pushed;
SELECT payload FROM pgq_pop('out');
-- a lower limit: first those that are out have to come back
SELECT pgq_push('out', '8') IS NOT NULL AS pushed;
SELECT pgq_alter_queue('out', '{"max_leased": 1}');
SELECT payload FROM pgq_reserve('out');
SELECT pgq_delete(id) FROM pgqueue.message WHERE payload IN ('4', '5');
SELECT payload FROM pgq_reserve('out');
SELECT pgq_delete(id) FROM pgqueue.message WHERE payload = '6';
SELECT payload FROM pgq_reserve('out', max => 5);
SELECT pgq_push('out', '9') IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('out', max => 5);
-- a higher one, and none
SELECT pgq_alter_queue('out', '{"max_leased": 2}');
SELECT payload FROM pgq_reserve('out', max => 5);
SELECT count(*) FROM pgq_push_batch('out', ARRAY['10', '11']::jsonb[]);
SELECT payload FROM pgq_reserve('out', max => 5);
SELECT pgq_alter_queue('out', '{"max_leased": null}');
SELECT payload FROM pgq_reserve('out', max => 5);
SELECT count(*) FROM pgqueue.slot;
-- full: an error, and nothing is pushed
SELECT pgq_create_queue('in', '{"max_length": 3}');
SELECT count(*) FROM pgq_push_batch('in', ARRAY['1', '2']::jsonb[]);
\set VERBOSITY default
SELECT pgq_push_batch('in', ARRAY['3', '4']::jsonb[]);
\set VERBOSITY sqlstate
SELECT pgq_push('in', '3') IS NOT NULL AS pushed;
SELECT pgq_push('in', '4');
SELECT pgq_push('in', '4', delay => '1 h');
-- what is leased is in as well
SELECT payload FROM pgq_reserve('in', max => 5);
SELECT pgq_push('in', '4');
SELECT pgq_delete(id) FROM pgqueue.message WHERE payload = '1';
SELECT pgq_push('in', '4') IS NOT NULL AS pushed;
-- the oldest of the least urgent make room
SELECT pgq_create_queue('ring', '{"max_length": 3, "on_full": "drop_oldest"}');
SELECT count(*) FROM pgq_push_batch('ring', ARRAY['1', '2']::jsonb[]);
SELECT pgq_push('ring', '"urgent"', priority => -1) IS NOT NULL AS pushed;
SELECT pgq_push('ring', '3') IS NOT NULL AS pushed;
SELECT count(*) FROM pgq_push_batch('ring', ARRAY['4', '5']::jsonb[]);
SELECT payload FROM pgq_peek('ring', max => 5);
SELECT pushed, delivered, deleted, total FROM pgq_stats('ring');
SELECT pgq_push_batch('ring', ARRAY['6', '7', '8', '9']::jsonb[]);
SELECT payload FROM pgq_reserve('ring', max => 5);
SELECT pgq_push('ring', '6');
-- of a group the first go first
SELECT pgq_create_queue('ring of a group', '{"max_length": 3, "on_full": "drop_oldest"}');
SELECT count(*) FROM pgq_push_batch('ring of a group', ARRAY['1', '2', '3']::jsonb[], group_key => 'a');
SELECT count(*) FROM pgq_push_batch('ring of a group', ARRAY['4', '5']::jsonb[], group_key => 'a');
SELECT payload FROM pgq_pop('ring of a group', max => 5);
SELECT payload FROM pgq_pop('ring of a group', max => 5);
-- what waits behind one that is leased is not ready
SELECT pgq_create_queue('ring of groups', '{"max_length": 2, "on_full": "drop_oldest"}');
SELECT pgq_push('ring of groups', '1', group_key => 'a') IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('ring of groups');
SELECT pgq_push('ring of groups', '2', group_key => 'a') IS NOT NULL AS pushed;
SELECT pgq_push('ring of groups', '3', group_key => 'b');
-- a first of a group that is more urgent goes before the others
SELECT pgq_purge('ring of groups');
SELECT pgq_push('ring of groups', '1', group_key => 'a', priority => 5) IS NOT NULL AS pushed;
SELECT pgq_push('ring of groups', '2', group_key => 'a') IS NOT NULL AS pushed;
SELECT count(*) FROM pgq_push_batch('ring of groups', ARRAY['3', '4']::jsonb[]);
SELECT payload FROM pgq_pop('ring of groups', max => 5);
-- settings
SELECT pgq_create_queue('bad', '{"max_leased": 0}');
SELECT pgq_create_queue('bad', '{"max_leased": 10001}');
SELECT pgq_create_queue('bad', '{"max_length": 0}');
SELECT pgq_create_queue('bad', '{"on_full": "wait"}');
SELECT pgq_drop_queue(queue) >= 0 AS dropped FROM pgq_list_queues();
