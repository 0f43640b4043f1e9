SELECT pgq_create_queue('dead', '{"max_deliveries": 1}'), pgq_create_queue('other');
SELECT array_agg(id) AS ids FROM pgq_push_batch('dead', ARRAY['1', '2', '3', '4']::jsonb[], headers => ARRAY['{"h": 1}', NULL, NULL, NULL]::jsonb[]) AS id \gset
-- bury: leased or not
SELECT count(*) FROM pgq_bury_batch((:'ids'::bigint[])[1:1], 'never');
SELECT count(*) FROM pgq_reserve('dead', max => 2);
SELECT pgq_bury((:'ids'::bigint[])[2], 'permanent', 1) AS buried;
SELECT outcome FROM pgq_fail((:'ids'::bigint[])[3], 'failed');
-- looking
SELECT payload, body, headers, deliveries, reason, errors -> 0 ->> 'error' AS error FROM pgq_peek_dead('dead', max => 10);
SELECT count(*) FROM pgq_peek_dead('dead');
SELECT dead, ready, total, died FROM pgq_stats('dead');
-- sending back: one, of one reason, to another queue; as a new message, so that no old
-- receipt fits it
SELECT pgq_redrive('dead', max => 1);
SELECT payload, headers, delivery, id = ANY (:'ids'::bigint[]) AS old_id FROM pgq_reserve('dead', max => 9);
SELECT count(*) FROM pgq_delete_batch((:'ids'::bigint[])[1:1], ARRAY[1]);
SELECT pgq_redrive('dead', reason => 'failed', to_queue => 'other');
SELECT payload, queue, delivery FROM pgq_reserve('other');
SELECT queue, pushed, died, leased FROM pgq_stats() WHERE queue IN ('dead', 'other') ORDER BY 1;
SELECT payload, reason FROM pgq_peek_dead('dead', max => 10);
-- without a reset: the count is kept, one more try is granted
SELECT pgq_redrive('dead', reset => false);
SELECT payload, delivery, id = ANY (:'ids'::bigint[]) AS old_id FROM pgq_reserve('dead');
SELECT outcome FROM pgq_fail((:'ids'::bigint[])[2], 'again');
SELECT payload, deliveries, reason, jsonb_array_length(errors) FROM pgq_peek_dead('dead', max => 10);
-- where some are left, or there is no limit, none is set
SELECT pgq_create_queue('buried', '{"max_deliveries": 5}'), pgq_create_queue('unlimited', '{"max_deliveries": 0}');
SELECT pgq_bury(pgq_push('buried', '1'), 'x'), pgq_bury(pgq_push('unlimited', '1'), 'x');
SELECT pgq_redrive('buried', reset => false), pgq_redrive('unlimited', reset => false);
SELECT outcome FROM pgq_reserve('buried') r, pgq_fail(r.id, 'again');
SELECT outcome FROM pgq_reserve('unlimited') r, pgq_fail(r.id, 'again');
-- taking out
SELECT payload, deliveries, reason FROM pgq_dump_dead('dead', 10);
SELECT payload FROM pgq_dump_dead('dead', 10);
SELECT pgq_redrive('dead');
-- a queue that keeps none has none to give
SELECT pgq_alter_queue('dead', '{"dead_letter": false}');
\set VERBOSITY sqlstate
SELECT * FROM pgq_dump_dead('dead');
SELECT * FROM pgq_peek_dead('dead');
\set VERBOSITY default
-- dead letters are kept for as long as their queue says
SELECT pgq_create_queue('retained', '{"dead_retention": "7 days"}');
SELECT array_agg(id) AS ids FROM pgq_push_batch('retained', ARRAY['1', '2', '3']::jsonb[]) AS id \gset
SELECT pgq_bury(pgq_push('for ever', '1'), 'x'), count(*) FROM pgq_bury_batch(:'ids'::bigint[], 'x');
UPDATE pgqueue.dead SET died_at = died_at - '6 days'::interval WHERE id <> (:'ids'::bigint[])[3];
SELECT dead_dropped FROM pgq_vacuum();
UPDATE pgqueue.dead SET died_at = died_at - '2 days'::interval;
SELECT dead_dropped FROM pgq_vacuum();
SELECT dead_dropped FROM pgq_vacuum_stats;
SELECT queue, dead, died FROM pgq_stats() WHERE queue IN ('retained', 'for ever') ORDER BY 1;
SELECT payload FROM pgq_peek_dead('retained', 9);
