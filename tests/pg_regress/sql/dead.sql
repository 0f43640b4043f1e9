SELECT pgq_create_queue('dead', '{"max_deliveries": 1}'), pgq_create_queue('other');
SELECT array_agg(id) AS ids FROM pgq_push_batch('dead', ARRAY['1', '2', '3', '4']::jsonb[], headers => ARRAY['{"h": 1}', NULL, NULL, NULL]::jsonb[]) AS id \gset
-- bury: leased or not
SELECT count(*) FROM pgq_bury_batch((:'ids'::bigint[])[1:1], 'never');
SELECT count(*) FROM pgq_reserve('dead', max => 2);
SELECT pgq_bury((:'ids'::bigint[])[2], 'permanent', 1) AS buried;
SELECT outcome FROM pgq_fail((:'ids'::bigint[])[3], 'failed');
-- looking
SELECT payload, body, headers, delivery, reason, errors -> 0 ->> 'error' AS error FROM pgq_peek_dead('dead', max => 10);
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
SELECT payload, delivery, reason, jsonb_array_length(errors) FROM pgq_peek_dead('dead', max => 10);
-- where some are left, or there is no limit, none is set
SELECT pgq_create_queue('buried', '{"max_deliveries": 5}'), pgq_create_queue('unlimited', '{"max_deliveries": 0}');
SELECT pgq_bury(pgq_push('buried', '1'), 'x'), pgq_bury(pgq_push('unlimited', '1'), 'x');
SELECT pgq_redrive('buried', reset => false), pgq_redrive('unlimited', reset => false);
SELECT outcome FROM pgq_reserve('buried') r, pgq_fail(r.id, 'again');
SELECT outcome FROM pgq_reserve('unlimited') r, pgq_fail(r.id, 'again');
-- by id: one, several, to another queue; each letter once, those that are none are left out
SELECT pgq_create_queue('dead again'), pgq_create_queue('dead desk');
SELECT array_agg(id) AS ids FROM pgq_push_batch('dead again', ARRAY['1', '2', '3', '4', '5', '6']::jsonb[], max_deliveries => 1) AS id \gset
SELECT count(*) FROM pgq_reserve('dead again', max => 6) m, pgq_fail(m.id, 'no');
SELECT pgq_redrive_dead((:'ids'::bigint[])[2]) > (:'ids'::bigint[])[6] AS new_id, pgq_redrive_dead((:'ids'::bigint[])[2]) AS again;
SELECT payload, delivery, max_deliveries FROM pgq_reserve('dead again', max => 9) r, LATERAL (SELECT max_deliveries FROM pgq_get(r.id)) g;
SELECT pgq_redrive_dead((:'ids'::bigint[])[3], reset => false) = (:'ids'::bigint[])[3] AS same_id;
SELECT payload, delivery, max_deliveries FROM pgq_reserve('dead again', max => 9) r, LATERAL (SELECT max_deliveries FROM pgq_get(r.id)) g;
SELECT pgq_redrive_dead((:'ids'::bigint[])[4], 'dead desk') IS NOT NULL AS moved, pushed FROM pgq_stats('dead desk');
SELECT queue, pushed, ready FROM pgq_stats('dead desk');
SELECT id = (:'ids'::bigint[])[6] AS sixth, new_id > id AS risen FROM pgq_redrive_dead_batch(:'ids'::bigint[] || :'ids'::bigint[] || 0::bigint, 'dead desk') ORDER BY id;
SELECT payload FROM pgq_peek('dead desk', 9);
SELECT count(*) FROM pgq_redrive_dead_batch('{}');
SELECT pgq_redrive_dead(0), pgq_delete_dead(0), pgq_delete_dead((:'ids'::bigint[])[3]);
SELECT count(*) FROM pgq_bury_batch(ARRAY(SELECT id FROM pgq_peek('dead desk', 9)), 'x');
SELECT pgq_delete_dead(min(id)) AS gone, pgq_delete_dead(min(id)) AS again FROM pgq_peek_dead('dead desk', 9);
SELECT count(*) FROM pgq_delete_dead_batch(ARRAY(SELECT id FROM pgq_peek_dead('dead desk', 9)) || ARRAY(SELECT id FROM pgq_peek_dead('dead desk', 9)));
SELECT queue, dead, ready, leased, total, died FROM pgq_stats() WHERE queue IN ('dead desk', 'dead again') ORDER BY 1;
-- in the order of their deaths, as new messages
SELECT array_agg(pgq_push('dead again', to_jsonb(n))) AS ids FROM generate_series(11, 13) n \gset
SELECT pgq_bury((:'ids'::bigint[])[3], 'x');
SELECT pgq_bury((:'ids'::bigint[])[1], 'x');
SELECT pgq_bury((:'ids'::bigint[])[2], 'x');
SELECT array_position(:'ids'::bigint[], id) AS letter, rank() OVER (ORDER BY new_id) FROM pgq_redrive_dead_batch(:'ids'::bigint[]) ORDER BY 1;
SELECT payload FROM pgq_reserve('dead again', max => 9);
-- of queues on which the caller has no right there are none; one that sees them is told
CREATE ROLE reader; CREATE ROLE passer;
SELECT pgq_bury(pgq_push('dead desk', '"seen"'), 'x'), pgq_grant('dead desk', 'reader', 'consume');
SELECT id AS letter FROM pgq_peek_dead('dead desk') \gset
SET ROLE passer;
SELECT pgq_redrive_dead(:letter), pgq_delete_dead(:letter);
SET ROLE reader;
\set VERBOSITY sqlstate
SELECT pgq_redrive_dead(:letter);
SELECT pgq_delete_dead(:letter);
SELECT pgq_redrive_dead(:letter, 'nowhere');
\set VERBOSITY default
RESET ROLE;
SELECT pgq_redrive_dead(NULL);
SELECT pgq_redrive_dead_batch(ARRAY[NULL]::bigint[]);
SELECT pgq_redrive_dead(:letter, 'nowhere');
SELECT pgq_redrive_dead(:letter, reset => NULL);
SELECT dead FROM pgq_stats('dead desk');
SELECT pgq_revoke('dead desk', 'reader', 'consume');
DROP ROLE reader, passer;
SELECT pgq_drop_queue('dead again'), pgq_drop_queue('dead desk');
-- taking out
SELECT payload, delivery, reason FROM pgq_dump_dead('dead', 10);
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
