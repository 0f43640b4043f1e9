-- making
SELECT pgq_create_queue('made', '{"lease": "45 s", "max_deliveries": 7, "backoff": {"base": "2 s"}}');
SELECT pgq_create_queue('made', '{"lease": "1 s"}');
SELECT queue, settings, paused FROM pgq_list_queues() WHERE queue = 'made';
-- changing: what is named is laid over, a null takes a setting back
SELECT pgq_alter_queue('made', '{"lease": "1 min", "backoff": null, "ttl": "7 days"}');
SELECT pgq_alter_queue('made', '{"lease": null, "max_deliveries": null, "ttl": null}');
SELECT pgq_alter_queue('made', '{}');
-- nothing is changed by a mistake
SELECT pgq_alter_queue('made', '{"lease": "20 s", "order": "sideways"}');
SELECT settings FROM pgq_list_queues() WHERE queue = 'made';
-- a change is seen at the next call
SELECT pgq_push('made', '1') IS NOT NULL AS pushed;
SELECT pgq_alter_queue('made', '{"lease": "1000 s"}');
SELECT round(extract(epoch FROM leased_until - clock_timestamp())) AS seconds FROM pgq_reserve('made');
-- a change that is rolled back is not
BEGIN;
SELECT pgq_alter_queue('made', '{"lease": "1 s", "max_deliveries": 1}');
ROLLBACK;
SELECT pgq_push('made', '2') IS NOT NULL AS pushed;
SELECT round(extract(epoch FROM leased_until - clock_timestamp())) AS seconds FROM pgq_reserve('made');
-- the oldest, whichever comes first
SELECT pgq_create_queue('stack', '{"order": "lifo"}'), pgq_push('stack', '1') IS NOT NULL AS pushed;
SELECT pg_sleep(0.2);
SELECT count(*) FROM pgq_push_batch('stack', array_fill('2'::jsonb, ARRAY[300]));
SELECT oldest_ready_age >= '200 ms' AS old FROM pgq_stats('stack');
-- purging, by state and all
SELECT count(*) FROM pgq_push_batch('purge', ARRAY['1', '2', '3']::jsonb[]);
SELECT pgq_push('purge', '4', delay => '1 h') IS NOT NULL AS pushed;
SELECT pgq_bury(id, 'dead') FROM pgq_reserve('purge');
SELECT count(*) FROM pgq_reserve('purge');
SELECT ready, delayed, leased, dead FROM pgq_stats('purge');
SELECT pgq_purge('purge', 'delayed'), pgq_purge('purge', 'dead'), pgq_purge('purge', 'blocked');
SELECT ready, delayed, leased, dead FROM pgq_stats('purge');
SELECT pgq_purge('purge');
SELECT total, pushed, deleted, died FROM pgq_stats('purge');
-- dropping takes the messages along; the name is free again
SELECT count(*) FROM pgq_push_batch('dropped', ARRAY['1', '2', '3']::jsonb[]);
SELECT pgq_bury(id, 'dead') FROM pgq_reserve('dropped');
SELECT pgq_drop_queue('dropped');
SELECT count(*) FROM pgq_list_queues() WHERE queue = 'dropped';
SELECT * FROM pgq_reserve('dropped');
SELECT pgq_push('dropped', '"new"') IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('dropped');
SELECT pushed FROM pgq_stats('dropped');
-- without auto_create a queue has to be made
SET pgqueue.auto_create = off;
SELECT pgq_push('not made', '1');
SELECT pgq_create_queue('not made');
SELECT pgq_push('not made', '1') IS NOT NULL AS pushed;
RESET pgqueue.auto_create;
-- a maintenance round by hand: what is due, what has expired, what has died
SELECT pgq_create_queue('round', '{"max_deliveries": 1}');
SELECT count(*) FROM pgq_push_batch('round', ARRAY['1', '2', '3']::jsonb[]);
SELECT count(*) FROM pgq_push_batch('round2', ARRAY['1', '2']::jsonb[]);
SELECT pgq_push('round2', '3', delay => '1 h') IS NOT NULL AS pushed;
SELECT (SELECT count(*) FROM pgq_reserve('round', max => 3)), (SELECT count(*) FROM pgq_reserve('round2', max => 2));
UPDATE pgqueue.message SET lease_until = CASE WHEN lease_until > now() THEN now() - '1 s'::interval ELSE lease_until END,
                           due_at = due_at - '2 h'::interval WHERE queue IN (SELECT id FROM pgqueue.queue WHERE name ~ '^round');
SELECT page_size, leases_expired, moved_to_dead, dropped, ttl_dropped, dead_dropped, archive_dropped, errors, last_run IS NOT NULL AS ran FROM pgq_vacuum();
SELECT queue, ready, delayed, leased, dead FROM pgq_stats() WHERE queue ~ '^round' ORDER BY 1;
SELECT leases_expired, moved_to_dead FROM pgq_vacuum();
SELECT leases_expired, moved_to_dead FROM pgq_vacuum_stats;
-- what commits after its queue was dropped goes with the next round; what is of a queue
-- that was not dropped, but is not there, as in the middle of a restore, stays
SELECT pgq_create_queue('forgotten');
SELECT id AS dropped FROM pgqueue.queue WHERE name = 'forgotten' \gset
SELECT pgq_drop_queue('forgotten');
INSERT INTO pgqueue.message (queue, payload, expires_at) VALUES (:dropped, '1', NULL), (-1, '1', NULL), (-1, '2', now() - '1 s'::interval);
INSERT INTO pgqueue.message (queue, payload, deliveries, lease_until) VALUES (-1, '3', 100, now() - '1 s'::interval);
INSERT INTO pgqueue.archive (id, queue, payload, enqueued_at, settled_at, deliveries, priority)
SELECT -queue, queue, '1', now(), now(), 1, 0 FROM unnest(ARRAY[:dropped, -1]) AS queue;
INSERT INTO pgqueue.recent_key SELECT queue, 'k', 1, now() FROM unnest(ARRAY[:dropped, -1]) AS queue;
INSERT INTO pgqueue.counter (queue, pushed) VALUES (:dropped, 1), (-1, 1);
INSERT INTO pgqueue.dead (id, queue, payload, enqueued_at, deliveries, priority, reason)
SELECT -queue, queue, '1', now(), 1, 0, 'failed' FROM unnest(ARRAY[:dropped, -1]) AS queue;
SELECT count(*) FROM pgq_vacuum();
SELECT queue, of, count(*)
  FROM (SELECT queue, 'message' AS of FROM pgqueue.message UNION ALL SELECT queue, 'archive' FROM pgqueue.archive
        UNION ALL SELECT queue, 'key' FROM pgqueue.recent_key UNION ALL SELECT queue, 'dead' FROM pgqueue.dead
        UNION ALL SELECT queue, 'counter' FROM pgqueue.counter WHERE NOT here) AS all_of_them
 WHERE queue IN (-1, :dropped)
 GROUP BY 1, 2 ORDER BY 1, 2;
DELETE FROM pgqueue.message WHERE queue = -1;
DELETE FROM pgqueue.archive WHERE queue = -1;
DELETE FROM pgqueue.recent_key WHERE queue = -1;
DELETE FROM pgqueue.dead WHERE queue = -1;
DELETE FROM pgqueue.counter WHERE queue = -1;
-- by hand, a dropped queue is remembered for a day, and until a round finds nothing of it
SELECT count(*) FROM pgqueue.dropped_queue WHERE queue = :dropped;
UPDATE pgqueue.dropped_queue SET dropped_at = now() - '25 h'::interval;
SELECT count(*) FROM pgq_vacuum();
SELECT count(*) FROM pgq_vacuum();
SELECT count(*) FROM pgq_vacuum();
SELECT count(*) FROM pgqueue.dropped_queue;
-- counters are written down and folded, to a row of each kind, without changing their sum
SELECT count(*) FROM generate_series(1, 50) n, pgq_push('count', to_jsonb(n));
SELECT count(*) FROM pgqueue.counter WHERE queue = (SELECT id FROM pgqueue.queue WHERE name = 'count');
SELECT pushed FROM pgq_stats('count');
SELECT count(*) FROM pgq_vacuum();
SELECT count(*) FROM pgqueue.counter WHERE queue = (SELECT id FROM pgqueue.queue WHERE name = 'count');
SELECT pushed, ready FROM pgq_stats('count');
SELECT pgq_count('count');
