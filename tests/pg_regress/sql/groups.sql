-- Ordered groups, and groups that are mere sub-queues.
-- one at a time, in order; other groups and messages without one go on
SELECT count(*) FROM pgq_push_batch('g', ARRAY['"a1"', '"a2"', '"a3"']::jsonb[], group_key => 'a');
SELECT pgq_push('g', '"b1"', group_key => 'b') IS NOT NULL AS pushed;
SELECT pgq_push('g', '"free"') IS NOT NULL AS pushed;
SELECT pgq_push('g', '"b2"', group_key => 'b') IS NOT NULL AS pushed;
SELECT payload, group_key FROM pgq_reserve('g', max => 10);
SELECT payload FROM pgq_reserve('g', max => 10);
SELECT ready, leased, blocked, total FROM pgq_stats('g');
SELECT payload, group_key FROM pgq_peek('g', max => 10, state => 'blocked');
SELECT payload, group_key FROM pgq_peek('g', max => 10, state => 'leased');
-- the next goes at once when the first is deleted
SELECT count(*) FROM pgq_delete_batch(ARRAY(SELECT id FROM pgqueue.message WHERE payload IN ('"a1"', '"b1"')));
SELECT payload FROM pgq_reserve('g', max => 10);
-- released, it goes first again
SELECT pgq_release(id, delivery => deliveries) FROM pgqueue.message WHERE payload = '"a2"';
SELECT payload, delivery FROM pgq_reserve('g', max => 10);
-- while the first awaits its retry the rest wait
SELECT outcome FROM pgq_fail((SELECT id FROM pgqueue.message WHERE payload = '"a2"'), 'no', delay => '1 h');
SELECT payload FROM pgq_reserve('g', max => 10);
UPDATE pgqueue.message SET due_at = now() - '1 s'::interval WHERE lane = 'd';
SELECT payload, delivery FROM pgq_reserve('g', max => 10);
-- a dead one lets the next go
SELECT pgq_bury(id, 'gone') FROM pgqueue.message WHERE payload = '"a2"';
SELECT payload FROM pgq_reserve('g', max => 10);
-- a group that ends begins anew
SELECT count(*) FROM pgq_delete_batch(ARRAY(SELECT id FROM pgqueue.message));
SELECT pgq_push('g', '"a4"', group_key => 'a') IS NOT NULL AS pushed;
SELECT payload FROM pgq_pop('g', max => 10);
SELECT ready, leased, delayed, blocked, dead, total FROM pgq_stats('g');
-- pop takes one of a group and lets the next go
SELECT count(*) FROM pgq_push_batch('p', ARRAY['1', '2', '3']::jsonb[], group_key => 'a');
SELECT payload FROM pgq_pop('p', max => 10);
SELECT payload FROM pgq_pop('p', max => 10);
SELECT payload FROM pgq_pop('p', max => 10);
SELECT payload FROM pgq_pop('p', max => 10);
-- the first is delayed: the rest wait for it
SELECT pgq_push('d', '1', group_key => 'a', delay => '1 h') IS NOT NULL AS pushed;
SELECT pgq_push('d', '2', group_key => 'a') IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('d', max => 10);
SELECT ready, delayed, blocked FROM pgq_stats('d');
UPDATE pgqueue.message SET due_at = now() - '1 s'::interval WHERE lane = 'd';
SELECT payload FROM pgq_reserve('d', max => 10);
-- of two that are due, the first of the group, not the first to be due
SELECT pgq_push('due', '1', group_key => 'a', delay => '2 h') IS NOT NULL AS pushed;
SELECT pgq_push('due', '2', group_key => 'a', delay => '1 h') IS NOT NULL AS pushed;
UPDATE pgqueue.message SET due_at = due_at - '3 h'::interval WHERE lane = 'd';
SELECT payload FROM pgq_reserve('due', max => 10);
-- an urgent one goes before those that wait, not before the one that is out
SELECT pgq_push('u', '1', group_key => 'a') IS NOT NULL AS pushed;
SELECT pgq_push('u', '2', group_key => 'a') IS NOT NULL AS pushed;
SELECT id AS first FROM pgq_reserve('u', max => 10) \gset
SELECT pgq_push('u', '"urgent"', group_key => 'a', priority => -1) IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('u', max => 10);
SELECT pgq_delete(:first);
SELECT payload FROM pgq_reserve('u', max => 10);
-- priorities within one transaction
BEGIN;
SELECT pgq_push('prio', '"second"', group_key => 'a', priority => 5) IS NOT NULL AS pushed;
SELECT pgq_push('prio', '"third"', group_key => 'a', priority => 5) IS NOT NULL AS pushed;
SELECT pgq_push('prio', '"first"', group_key => 'a', priority => 1) IS NOT NULL AS pushed;
COMMIT;
SELECT payload FROM pgq_pop('prio', max => 10);
SELECT payload FROM pgq_pop('prio', max => 10);
SELECT payload FROM pgq_pop('prio', max => 10);
-- one's own messages, deleted again in the same transaction
BEGIN;
SELECT id AS own FROM pgq_push_result('own', '1', group_key => 'a') \gset
SELECT pgq_push('own', '2', group_key => 'a') IS NOT NULL AS pushed;
SELECT pgq_delete(:own);
SELECT pgq_push('own', '3', group_key => 'a') IS NOT NULL AS pushed;
SELECT payload FROM pgq_pop('own', max => 10);
COMMIT;
SELECT payload FROM pgq_pop('own', max => 10);
-- an expired one does not hold up its group
SELECT pgq_push('ttl', '1', group_key => 'a', ttl => '1 h') IS NOT NULL AS pushed;
SELECT pgq_push('ttl', '2', group_key => 'a') IS NOT NULL AS pushed;
UPDATE pgqueue.message SET expires_at = now() - '1 s'::interval WHERE expires_at IS NOT NULL;
SELECT payload FROM pgq_reserve('ttl', max => 10);
-- nor does a delayed one that has expired
BEGIN;
SELECT pgq_push('dttl', '1', group_key => 'a', delay => '1 h', ttl => '1 h') IS NOT NULL AS pushed;
SELECT pgq_push('dttl', '2', group_key => 'a') IS NOT NULL AS pushed;
COMMIT;
UPDATE pgqueue.message SET expires_at = now() - '1 s'::interval WHERE expires_at IS NOT NULL;
SELECT payload FROM pgq_reserve('dttl', max => 10);
-- one that goes to another group leaves its own to the next
SELECT pgq_push('leave', '1', group_key => 'a', dedup_key => 'k') IS NOT NULL AS pushed;
BEGIN;
SELECT pgq_push('leave', '2', group_key => 'a') IS NOT NULL AS pushed;
SELECT pgq_push('leave', '3', group_key => 'a') IS NOT NULL AS pushed;
COMMIT;
SELECT pgq_push('leave', '"1 in b"', group_key => 'b', dedup_key => 'k', on_duplicate => 'replace') IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('leave', max => 10);
-- one group only
SELECT count(*) FROM pgq_push_batch('one', ARRAY['"a1"', '"a2"']::jsonb[], group_key => 'a');
SELECT count(*) FROM pgq_push_batch('one', ARRAY['"b1"', '"b2"']::jsonb[], group_key => 'b');
SELECT payload FROM pgq_reserve('one', max => 10, group_key => 'b');
SELECT payload FROM pgq_reserve('one', max => 10, group_key => 'b');
SELECT payload FROM pgq_reserve('one', max => 10, group_key => 'none');
SELECT pgq_count('one'), pgq_count('one', group_key => 'a'), pgq_count('one', group_key => 'b');
SELECT pgq_purge('one', group_key => 'a'), pgq_purge('one', 'leased', 'b');
SELECT payload FROM pgq_reserve('one', max => 10);
-- statements free groups too
SELECT count(*) FROM pgq_push_batch('sql', ARRAY['1', '2', '3']::jsonb[], group_key => 'a');
DELETE FROM pgqueue.message WHERE payload = '1' AND queue = (SELECT id FROM pgqueue.queue WHERE name = 'sql');
SELECT payload FROM pgq_reserve('sql', max => 10);
-- newest first between groups, not within one
SELECT count(*) FROM pgq_push_batch('lifo', ARRAY['"a1"', '"a2"']::jsonb[], group_key => 'a');
SELECT count(*) FROM pgq_push_batch('lifo', ARRAY['"b1"', '"b2"']::jsonb[], group_key => 'b');
SELECT payload FROM pgq_reserve('lifo', max => 10, lifo => true);
-- parallel: the key is a sub-queue
SELECT pgq_create_queue('par', '{"groups": "parallel"}');
SELECT count(*) FROM pgq_push_batch('par', ARRAY['"a1"', '"a2"', '"a3"']::jsonb[], group_key => 'a');
SELECT count(*) FROM pgq_push_batch('par', ARRAY['"b1"', '"b2"']::jsonb[], group_key => 'b');
SELECT pgq_push('par', '"a0"', group_key => 'a', priority => -1) IS NOT NULL AS pushed;
SELECT pgq_push('par', '"later"', group_key => 'a', delay => '1 h') IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('par', max => 2, group_key => 'a');
SELECT payload FROM pgq_reserve('par', max => 1, group_key => 'a', lifo => true);
SELECT pgq_count('par', group_key => 'a'), pgq_count('par', group_key => 'b'), pgq_count('par');
SELECT payload FROM pgq_reserve('par', max => 10);
-- from ordered to parallel and back
SELECT count(*) FROM pgq_push_batch('both', ARRAY['1', '2', '3', '4']::jsonb[], group_key => 'a');
SELECT pgq_alter_queue('both', '{"groups": "parallel"}');
SELECT payload FROM pgq_reserve('both', max => 2);
SELECT pgq_alter_queue('both', '{"groups": "ordered"}');
SELECT payload FROM pgq_reserve('both', max => 2);
SELECT count(*) FROM pgq_release_batch(ARRAY(SELECT id FROM pgqueue.message WHERE lease_until > now()
    AND queue = (SELECT id FROM pgqueue.queue WHERE name = 'both')));
SELECT payload FROM pgq_reserve('both', max => 2);
SELECT count(*) FROM pgq_delete_batch(ARRAY(SELECT id FROM pgqueue.message WHERE payload IN ('1', '2')
    AND queue = (SELECT id FROM pgqueue.queue WHERE name = 'both')));
SELECT payload FROM pgq_reserve('both', max => 2);
-- whoever changes it sees at once what comes of that, others have passed it or not
SELECT pgq_push('ahead', '1', group_key => 'a') IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('ahead');
SELECT pgq_push('ahead', '2', group_key => 'a') IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('ahead');
BEGIN;
SELECT pgq_alter_queue('ahead', '{"groups": "parallel"}');
SELECT payload FROM pgq_peek('ahead');
SELECT payload FROM pgq_reserve('ahead');
ROLLBACK;
SELECT payload FROM pgq_reserve('ahead');
-- counters and a look at everything agree
SELECT s.queue FROM pgq_stats() s JOIN pgqueue.queue q ON q.name = s.queue
  JOIN (SELECT queue, sum(ready) AS ready, sum(leased) AS leased, sum(delayed) AS delayed, sum(blocked) AS blocked, sum(dead) AS dead
          FROM (TABLE pgqueue.counter UNION ALL SELECT * FROM pgqueue.pending_counts()) c GROUP BY queue) c ON c.queue = q.id
 WHERE c.ready + c.delayed + c.blocked + c.dead <> s.total OR c.leased <> s.leased OR c.dead <> s.dead;
SELECT pgq_drop_queue(queue) >= 0 AS dropped FROM pgq_list_queues();
