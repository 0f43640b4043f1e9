-- A queue tells another of every retry and every death of its messages.
CREATE FUNCTION events(queue text) RETURNS TABLE (event jsonb) LANGUAGE sql AS $$
    SELECT payload - 'id' - 'retry_at' || jsonb_build_object('has_time', payload -> 'retry_at' <> 'null') FROM pgq_pop(queue, 100);
$$;
-- the target is made; it can't be the queue itself
SELECT pgq_create_queue('jobs', '{"events_to": "ops", "max_deliveries": 2}');
SELECT queue, settings FROM pgq_list_queues() WHERE queue = 'ops';
SELECT pgq_create_queue('jobs', '{"events_to": "not made: the queue is there"}');
SELECT count(*) FROM pgq_list_queues() WHERE queue ~ '^not made';
\set VERBOSITY sqlstate
SELECT pgq_create_queue('selfish', '{"events_to": "selfish"}');
SELECT pgq_alter_queue('jobs', '{"events_to": "jobs"}');
SELECT pgq_create_queue('nobody', '{"events_to": ""}');
SELECT pgq_create_queue('nobody', jsonb_build_object('events_to', repeat('x', 513)));
SELECT pgq_create_queue('nobody', '{"events_to": 1}');
\set VERBOSITY default
SELECT count(*) FROM pgq_list_queues() WHERE queue IN ('selfish', 'nobody');
-- pgq_fail: a retry, then a death
SELECT pgq_push('jobs', '1') AS id \gset
SELECT pgq_fail(id, 'first', delivery, '1 h') IS NOT NULL AS failed FROM pgq_reserve('jobs');
SELECT (payload ->> 'id')::bigint = :id AS same_id, (payload ->> 'retry_at')::timestamptz = (SELECT deliver_at FROM pgq_get(:id)) AS same_time
  FROM pgq_peek('ops');
SELECT * FROM events('ops');
UPDATE pgqueue.message SET due_at = now() - '1 s'::interval WHERE id = :id;
SELECT outcome FROM pgq_reserve('jobs') m, pgq_fail(m.id, 'second');
SELECT * FROM events('ops');
-- pgq_bury, many at once, in the order of their ids; also what is never kept
SELECT array_agg(id) AS ids FROM pgq_push_batch('jobs', ARRAY['2', '3']::jsonb[]) AS id \gset
SELECT count(*) FROM pgq_bury_batch(:'ids'::bigint[], 'buried');
SELECT payload -> 'id' = to_jsonb((:'ids'::bigint[])[row_number() OVER (ORDER BY id)]) AS in_order FROM pgq_peek('ops', 9);
SELECT * FROM events('ops');
SELECT pgq_alter_queue('jobs', '{"dead_letter": false}');
SELECT pgq_push('jobs', '4') AS id \gset
SELECT pgq_bury(:id, 'dropped');
SELECT * FROM events('ops');
SELECT pgq_alter_queue('jobs', '{"dead_letter": true, "on_expire": "dead"}');
-- leases that ran out: found by a reserve, and by the worker; a lease to be had again is no event
SELECT pgq_push('jobs', to_jsonb(n), max_deliveries => m) IS NOT NULL AS pushed FROM (VALUES (5, 1), (6, 2)) v (n, m);
SELECT payload FROM pgq_reserve('jobs', max => 9);
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE lease_until > now();
SELECT payload FROM pgq_reserve('jobs', max => 9);
SELECT * FROM events('ops');
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE lease_until > now();
SELECT moved_to_dead FROM pgq_vacuum();
SELECT * FROM events('ops');
-- on_timeout dead; out of deliveries because the limit was lowered
SELECT pgq_alter_queue('jobs', '{"on_timeout": "dead"}');
SELECT count(*) FROM pgq_push_batch('jobs', ARRAY['7', '8']::jsonb[]);
SELECT f.outcome FROM pgq_reserve('jobs', max => 2) m, pgq_fail(m.id, 'eight', delay => '0') f WHERE m.payload = '8';
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE lease_until > now();
SELECT pgq_alter_queue('jobs', '{"max_deliveries": 1}');
SELECT moved_to_dead FROM pgq_vacuum();
SELECT * FROM events('ops');
-- time to live over: an event where the message is kept
SELECT pgq_push('jobs', '9', ttl => '1 h') IS NOT NULL AS pushed;
UPDATE pgqueue.message SET expires_at = now() - '1 s'::interval WHERE expires_at > now();
SELECT moved_to_dead FROM pgq_vacuum();
SELECT * FROM events('ops');
SELECT pgq_alter_queue('jobs', '{"on_expire": "drop"}');
SELECT pgq_push('jobs', '10', ttl => '1 h') IS NOT NULL AS pushed;
UPDATE pgqueue.message SET expires_at = now() - '1 s'::interval WHERE expires_at > now();
SELECT ttl_dropped FROM pgq_vacuum();
SELECT * FROM events('ops');
-- in the same transaction: what did not happen is not told
SELECT pgq_push('jobs', '11') AS id \gset
BEGIN;
SELECT pgq_bury(:id, 'rolled back');
SELECT pgq_count('ops');
ROLLBACK;
SELECT pgq_count('ops');
-- a target that is gone is made again, with what it counts
SELECT pgq_drop_queue('ops');
SET pgqueue.auto_create = off;
SELECT pgq_bury(:id, 'made again');
RESET pgqueue.auto_create;
SELECT pushed, ready FROM pgq_stats('ops');
SELECT * FROM events('ops');
-- the target's time to live is the events' too; it can itself tell others
SELECT pgq_alter_queue('ops', '{"ttl": "1 h", "events_to": "chief"}');
SELECT pgq_push('jobs', '12') AS id \gset
SELECT pgq_bury(:id, 'one');
SELECT pgq_bury(m.id, 'two'), g.expires_at IS NOT NULL AS has_ttl FROM pgq_peek('ops') m, pgq_get(m.id) g;
SELECT payload - 'id' FROM pgq_pop('chief');
SELECT pgq_drop_queue('chief') FROM pgq_alter_queue('ops', '{"events_to": null}');
-- no more events
SELECT pgq_alter_queue('jobs', '{"events_to": null}');
SELECT pgq_push('jobs', '13') AS id \gset
SELECT pgq_bury(:id, 'silent');
SELECT pgq_count('ops');
-- rights: the caller's and the owner's on the target
CREATE ROLE regress_jobs;
CREATE ROLE regress_ops;
CREATE ROLE regress_consumer IN ROLE regress_jobs;
SET ROLE regress_ops;
SELECT pgq_create_queue('theirs');
SET ROLE regress_jobs;
\set VERBOSITY sqlstate
SELECT pgq_create_queue('mine', '{"events_to": "theirs"}');
\set VERBOSITY default
SELECT pgq_create_queue('mine', '{"events_to": "told"}');
\set VERBOSITY sqlstate
SELECT pgq_alter_queue('mine', '{"events_to": "theirs"}');
RESET ROLE;
SELECT pgq_alter_queue('mine', '{"events_to": "theirs"}');
\set VERBOSITY default
-- made again for the owner, by whoever's call
SELECT pgq_drop_queue('told');
SET ROLE regress_consumer;
SELECT pgq_bury(pgq_push('mine', '1'), 'x');
SELECT queue, owner FROM pgq_list_queues() ORDER BY 1;
-- nothing is told to a queue that somebody else has made in its place
RESET ROLE;
SELECT pgq_drop_queue('told');
SET ROLE regress_ops;
SELECT pgq_create_queue('told');
SET ROLE regress_consumer;
SELECT pgq_bury(pgq_push('mine', '2'), 'secret');
RESET ROLE;
SELECT pgq_count('told');
SELECT pgq_drop_queue(q) FROM unnest(ARRAY['mine', 'told', 'theirs']) q;
DROP ROLE regress_consumer, regress_jobs, regress_ops;
DROP FUNCTION events;
-- circles of queues that tell each other are refused, over whatever others
SELECT pgq_create_queue('one', '{"events_to": "two", "ttl": "1 ms", "on_expire": "dead"}');
SELECT pgq_alter_queue('two', '{"events_to": "three", "ttl": "1 ms", "on_expire": "dead"}');
\set VERBOSITY terse
SELECT pgq_alter_queue('two', '{"events_to": "one"}');
SELECT pgq_alter_queue('three', '{"events_to": "one"}');
SELECT pgq_create_queue('four', '{"events_to": "one"}');
SELECT pgq_drop_queue('one');
SELECT pgq_create_queue('one', '{"events_to": "four"}');
SELECT pgq_create_queue('one', '{"events_to": "two", "ttl": "1 ms", "on_expire": "dead"}');
SELECT pgq_drop_queue('four');
SELECT pgq_alter_queue('three', '{"events_to": "three"}');
\set VERBOSITY default
SELECT queue, settings -> 'events_to' AS events_to FROM pgq_list_queues() WHERE queue IN ('one', 'two', 'three') ORDER BY queue;
-- one that is there nevertheless (two changes at once, a name that goes to another queue) ends; a queue outside tells into it
UPDATE pgqueue.queue SET settings = settings || '{"events_to": "one", "ttl": "1 ms", "on_expire": "dead"}' WHERE name = 'three';
SELECT pgq_create_queue('outside', '{"events_to": "one"}');
SELECT count(*) FROM (SELECT pgq_push('one', '1'), pgq_push('two', '2'), pgq_push('outside', '3')) p;
SELECT pgq_bury(id, 'no') AS buried FROM pgq_reserve('outside');
SELECT pg_sleep(0.01);
SET client_min_messages = error;
SELECT count(*) FROM pgq_vacuum();
SELECT pg_sleep(0.01);
SELECT count(*) FROM pgq_vacuum();
SELECT pg_sleep(0.01);
SELECT count(*) FROM pgq_vacuum();
RESET client_min_messages;
SELECT q.queue, dead, total FROM pgq_list_queues() q, pgq_stats(q.queue) s WHERE q.queue IN ('one', 'two', 'three', 'outside') ORDER BY q.queue;
UPDATE pgqueue.queue SET settings = settings - 'events_to' WHERE name = 'three';
SELECT count(pgq_drop_queue(queue)) AS dropped FROM pgq_list_queues() WHERE queue IN ('one', 'two', 'three', 'outside');
-- nor is a chain without an end
SELECT count(pgq_create_queue('link ' || n, jsonb_build_object('events_to', 'link ' || n - 1))) FROM generate_series(1, 30) n;
SELECT pgq_create_queue('link 31', '{"events_to": "link 30"}');
-- a chain that others have made longer behind the next queue loses no events
SELECT pgq_create_queue('first', '{"events_to": "link 5", "max_deliveries": 1}');
SELECT count(pgq_create_queue('link 1' || n, jsonb_build_object('events_to', 'link 1' || n - 1))) FROM generate_series(101, 130) n;
SELECT pgq_alter_queue('link 0', '{"events_to": "link 1130"}');
SELECT count(pgq_push('first', '1'));
SELECT f.outcome FROM pgq_reserve('first') m, pgq_fail(m.id, 'no', m.delivery) f;
SELECT total FROM pgq_stats('link 5');
SELECT pgq_drop_queue('first');
SELECT count(pgq_drop_queue(queue)) AS dropped FROM pgq_list_queues() WHERE queue LIKE 'link %';
