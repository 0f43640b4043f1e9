-- Unique keys.
-- ignore: the waiting one stays
SELECT id AS first FROM pgq_push_result('k', '1', dedup_key => 'a') \gset
SELECT id = :first AS same, outcome FROM pgq_push_result('k', '2', dedup_key => 'a');
SELECT pgq_push('k', '3', dedup_key => 'a') = :first AS same;
SELECT outcome FROM pgq_push_result('k', '"other"', dedup_key => 'b');
SELECT payload, dedup_key FROM pgq_peek('k', max => 10) p, pgq_get(p.id) g (gid, q, state, gpayload);
SELECT ready, pushed FROM pgq_stats('k');
-- replace: the latest wins, in place
SELECT id = :first AS same, outcome FROM pgq_push_result('k', '4', '{"h": 1}', dedup_key => 'a', on_duplicate => 'replace', priority => 3, max_deliveries => 2);
SELECT id = :first AS same, payload, headers, priority FROM pgq_peek('k', max => 10);
-- reject: an error, whose detail names the one that waits
\set VERBOSITY terse
SELECT pgq_push('k', '5', dedup_key => 'a', on_duplicate => 'reject');
-- a leased one does not count
SELECT payload FROM pgq_reserve('k', max => 10);
SELECT outcome FROM pgq_push_result('k', '6', dedup_key => 'a');
SELECT outcome FROM pgq_push_result('k', '7', dedup_key => 'a', on_duplicate => 'replace');
-- released, the older one is superseded: the newer wins
SELECT pgq_release(:first);
SELECT payload, delivery FROM pgq_reserve('k', max => 10);
SELECT state FROM pgq_get(:first);
-- a failed one comes back as long as there is no newer
SELECT id AS second FROM pgqueue.message WHERE payload = '7' \gset
SELECT outcome FROM pgq_fail(:second, 'no', delay => '1 h');
SELECT id = :second AS same, outcome FROM pgq_push_result('k', '8', dedup_key => 'a', on_duplicate => 'replace');
SELECT payload, delivery FROM pgq_reserve('k', max => 10);
-- so does one whose lease has run out
SELECT pgq_extend(:second, '1 ms') IS NOT NULL AS extended, pg_sleep(0.01);
SELECT id = :second AS same, outcome FROM pgq_push_result('k', '9', dedup_key => 'a');
SELECT payload, delivery FROM pgq_reserve('k', max => 10);
-- the key is free when the message is gone
SELECT pgq_delete(:second);
SELECT outcome FROM pgq_push_result('k', '10', dedup_key => 'a');
SELECT payload FROM pgq_pop('k', max => 10);
-- other queues have other keys
SELECT outcome FROM pgq_push_result('k', '1', dedup_key => 'x');
SELECT outcome FROM pgq_push_result('k2', '1', dedup_key => 'x');
-- a batch has one key: the first message takes it
SELECT count(DISTINCT id) FROM pgq_push_batch('batch', ARRAY['1', '2', '3']::jsonb[], dedup_key => 'x') id;
SELECT count(DISTINCT id) FROM pgq_push_bytes_batch('batch', ARRAY['\x01', '\x02']::bytea[], dedup_key => 'x', on_duplicate => 'replace') id;
SELECT payload, body FROM pgq_peek('batch', max => 10);
-- one that outlived its time does not count
SELECT outcome FROM pgq_push_result('old', '1', dedup_key => 'x', ttl => '1 h');
UPDATE pgqueue.message SET expires_at = now() - '1 s'::interval WHERE expires_at IS NOT NULL;
SELECT outcome FROM pgq_push_result('old', '2', dedup_key => 'x');
SELECT payload FROM pgq_reserve('old', max => 10);
-- delayed ones wait too
SELECT outcome FROM pgq_push_result('late', '1', dedup_key => 'x', delay => '1 h');
SELECT outcome FROM pgq_push_result('late', '2', dedup_key => 'x');
SELECT outcome FROM pgq_push_result('late', '3', dedup_key => 'x', on_duplicate => 'replace');
SELECT payload FROM pgq_reserve('late', max => 10);
-- a window: keys seen lately are refused although consumed
SELECT pgq_create_queue('w', '{"dedup_window": "1 h"}');
SELECT id AS seen FROM pgq_push_result('w', '1', dedup_key => 'x') \gset
SELECT payload FROM pgq_pop('w');
SELECT id = :seen AS same, outcome FROM pgq_push_result('w', '2', dedup_key => 'x');
SELECT pgq_push('w', '2', dedup_key => 'x', on_duplicate => 'reject');
SELECT outcome FROM pgq_push_result('w', '2', dedup_key => 'y');
UPDATE pgqueue.recent_key SET seen_at = seen_at - '2 h'::interval WHERE dedup_key = 'x';
SELECT outcome FROM pgq_push_result('w', '3', dedup_key => 'x');
UPDATE pgqueue.recent_key SET seen_at = seen_at - '2 h'::interval;
SELECT errors FROM pgq_vacuum();
SELECT count(*) FROM pgqueue.recent_key;
-- rolled back, nothing was seen
BEGIN;
SELECT outcome FROM pgq_push_result('w', '4', dedup_key => 'z');
ROLLBACK;
SELECT outcome FROM pgq_push_result('w', '4', dedup_key => 'z');
-- a clock that was ahead makes the window no longer
UPDATE pgqueue.recent_key SET seen_at = seen_at + '10 h'::interval;
SELECT count(*) FROM pgq_pop('w', max => 9);
SELECT outcome FROM pgq_push_result('w', '5', dedup_key => 'z');
SELECT seen_at <= clock_timestamp() AS is_right FROM pgqueue.recent_key;
-- with a group
SELECT outcome FROM pgq_push_result('kg', '1', dedup_key => 'x', group_key => 'a');
SELECT outcome FROM pgq_push_result('kg', '2', dedup_key => 'y', group_key => 'a');
SELECT payload FROM pgq_reserve('kg', max => 10);
SELECT pgq_drop_queue(queue) >= 0 AS dropped FROM pgq_list_queues();
SELECT count(*) FROM pgqueue.recent_key;
