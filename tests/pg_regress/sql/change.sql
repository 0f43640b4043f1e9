-- Messages that nobody holds can be changed, cancelled and moved.
SELECT array_agg(id) AS ids FROM pgq_push_batch('change', ARRAY['1', '2', '3']::jsonb[], headers => ARRAY['{"h": 1}', NULL, NULL]::jsonb[], max_deliveries => 1) AS id \gset
SELECT (:'ids'::bigint[])[1] AS one, (:'ids'::bigint[])[2] AS two, (:'ids'::bigint[])[3] AS three \gset
-- update: what is named changes, the rest stays
SELECT pgq_update(:one, '"new"'), pgq_update(:two, headers => '{"h": 2}', priority => -1), pgq_update(:three, deliver_at => now() + '1 h'::interval);
SELECT payload, headers, priority, delivery, state FROM unnest(:'ids'::bigint[]) id, pgq_get(id) g;
SELECT payload FROM pgq_peek('change', 9);
SELECT pgq_update(:three, deliver_at => now() - '1 h'::interval, priority => 5), pgq_update(:two, deliver_at => now() + '1 h'::interval), pgq_update(:one);
SELECT payload, headers, priority, state, deliver_at IS NULL AS now FROM unnest(:'ids'::bigint[]) id, pgq_get(id) g;
SELECT pgq_update(:two, deliver_at => now() + '2 h'::interval);
SELECT round(extract(epoch FROM deliver_at - now())) FROM pgq_get(:two);
-- it is found at its new place
SELECT pgq_update(:two, deliver_at => '2000-01-01');
SELECT payload, priority, delivery FROM pgq_reserve('change', max => 9);
-- a payload takes the place of a body
SELECT pgq_push_bytes('change', 'body') AS bytes \gset
SELECT pgq_update(:bytes, priority => 1), payload, body FROM pgq_get(:bytes);
SELECT pgq_update(:bytes, '"payload"');
SELECT payload, body, priority FROM pgq_get(:bytes);
-- what is leased, dead, outlived, out of deliveries, archived or unknown is left alone
SELECT pgq_create_queue('elsewhere', '{"archive": "1 h"}');
SELECT pgq_push('change', '"dead"') AS dead, pgq_push('change', '"old"', ttl => '1 h') AS old, pgq_push('elsewhere', '"archived"') AS archived \gset
SELECT pgq_bury(:dead, 'x'), pgq_delete(:archived);
UPDATE pgqueue.message SET expires_at = now() - '1 s'::interval WHERE id = :old;
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE id = :two;
SELECT state FROM unnest(ARRAY[:one, :two, :dead, :old, :archived, -1]) id, pgq_get(id);
SELECT pgq_update(id, '"never"'), pgq_cancel(id) FROM unnest(ARRAY[:one, :two, :dead, :old, :archived, -1]) id;
SELECT count(*) FROM pgq_cancel_batch(ARRAY[:one, :two, :dead, :old, :archived, -1]);
SELECT count(*) FROM pgq_move_batch(ARRAY[:one, :two, :dead, :old, :archived, -1], 'elsewhere');
SELECT payload, state FROM unnest(ARRAY[:one, :two, :dead, :old, :archived]) id, pgq_get(id);
-- a lease that has ended, with deliveries left, holds nothing any more
UPDATE pgqueue.message SET max_deliveries = 5 WHERE id = :two;
SELECT pgq_update(:two, '"again"');
SELECT payload, delivery FROM pgq_reserve('change');
-- cancel
SELECT array_agg(id) AS ids FROM pgq_push_batch('cancel', ARRAY['1', '2', '3', '4']::jsonb[]) AS id \gset
SELECT pgq_push('cancel', '5', delay => '1 h') AS later \gset
SELECT payload FROM pgq_reserve('cancel');
SELECT id = ANY ((:'ids'::bigint[])[2:3]) AS expected FROM pgq_cancel_batch((:'ids'::bigint[])[3:3] || (:'ids'::bigint[])[1:3]) AS id;
SELECT pgq_cancel((:'ids'::bigint[])[4]), pgq_cancel((:'ids'::bigint[])[4]), pgq_cancel(:later);
SELECT ready, delayed, leased, deleted FROM pgq_stats('cancel');
BEGIN;
SELECT pgq_push('cancel', '6') AS id \gset
SAVEPOINT s;
SELECT pgq_cancel(:id);
ROLLBACK TO s;
COMMIT;
SELECT payload FROM pgq_reserve('cancel', max => 9);
-- move: as new messages, behind what is there; with all that was said of them
SELECT pgq_push('there', '"first"') IS NOT NULL AS pushed;
SELECT pgq_push('here', '1', headers => '{"h": 1}', priority => 3, ttl => '1 h', lease => '1000 s', max_deliveries => 7) AS one,
       pgq_push('here', '2', delay => '1 h') AS two, pgq_push_bytes('here', 'body', priority => 3) AS three, pgq_push('here', '"leased"', priority => -1) AS leased \gset
SELECT payload FROM pgq_reserve('here');
SELECT outcome FROM pgq_reserve('here') m, pgq_fail(m.id, 'boom', m.delivery, '0');
SELECT array_agg(new_id) AS moved, array_agg(id) = ARRAY[:one, :two, :three]::bigint[] AS in_order, min(new_id) > max(id) AS are_new
  FROM pgq_move_batch(ARRAY[:three, :one, :leased, :two, :two], 'there') \gset
\echo :in_order :are_new
SELECT g.queue, g.state, g.payload, g.body, g.headers, g.priority, g.delivery, g.max_deliveries, g.expires_at IS NOT NULL AS has_ttl, g.errors -> 0 ->> 'error' AS error
  FROM unnest(:'moved'::bigint[]) id, pgq_get(id) g;
SELECT count(*) FROM unnest(ARRAY[:one, :two, :three]) id, pgq_get(id);
SELECT queue, ready, delayed, leased, pushed, deleted FROM pgq_stats() WHERE queue IN ('here', 'there') ORDER BY 1;
SELECT payload, body, delivery, round(extract(epoch FROM leased_until - clock_timestamp())) AS seconds FROM pgq_reserve('there', max => 9);
-- what is there already stays
SELECT pgq_push('there', '"stays"') AS stays \gset
SELECT count(*) FROM pgq_move_batch(ARRAY[:stays], 'there');
SELECT state FROM pgq_get(:stays);
-- groups: whoever has become the first has its turn, whichever way
SELECT array_agg(id) AS ids FROM (SELECT pgq_push('grouped', to_jsonb(n), group_key => 'g') AS id FROM generate_series(1, 5) n) pushed \gset
SELECT payload FROM pgq_peek('grouped', 9, 'ready') UNION ALL SELECT payload FROM pgq_peek('grouped', 9, 'blocked');
SELECT pgq_update((:'ids'::bigint[])[3], priority => -1);
SELECT payload, delivery FROM pgq_reserve('grouped', max => 9);
SELECT pgq_delete((:'ids'::bigint[])[3]);
SELECT pgq_cancel((:'ids'::bigint[])[1]);
SELECT payload FROM pgq_reserve('grouped', max => 9);
SELECT pgq_release((:'ids'::bigint[])[2]);
SELECT pgq_push('target', '"first"', group_key => 'g') IS NOT NULL AS pushed;
SELECT count(*) FROM pgq_move_batch(ARRAY[(:'ids'::bigint[])[2]], 'target');
SELECT payload FROM pgq_reserve('grouped', max => 9);
SELECT payload, group_key FROM pgq_pop('target', 9);
SELECT payload, group_key FROM pgq_pop('target', 9);
SELECT pgq_update((:'ids'::bigint[])[5], deliver_at => now() + '1 h'::interval), pgq_delete((:'ids'::bigint[])[4]);
SELECT state FROM pgq_get((:'ids'::bigint[])[5]);
SELECT pgq_update((:'ids'::bigint[])[5], deliver_at => now());
SELECT payload FROM pgq_reserve('grouped', max => 9);
-- keys: a message stays where it is if another waits with its key there
SELECT pgq_push('keyed', '1', dedup_key => 'k') AS one, pgq_push('keyed', '2', dedup_key => 'l') AS two \gset
SELECT pgq_push('target', '"waits"', dedup_key => 'k') IS NOT NULL AS pushed;
SELECT id = :two AS two FROM pgq_move_batch(ARRAY[:one, :two], 'target');
SELECT queue, ready, pushed, deleted FROM pgq_stats() WHERE queue IN ('keyed', 'target') ORDER BY 1;
SELECT pgq_push('target', '"another"', dedup_key => 'l', on_duplicate => 'ignore') = id AS same_message FROM pgq_peek('target', 9) WHERE payload = '2';
SELECT payload FROM pgq_pop('target', 9);
SELECT count(*) FROM pgq_move_batch(ARRAY[:one], 'target');
-- mistakes
\set VERBOSITY sqlstate
SELECT pgq_update(NULL);
SELECT pgq_update(1, priority => 32768);
SELECT pgq_update(1, deliver_at => 'infinity');
SELECT pgq_cancel(NULL::bigint);
SELECT pgq_cancel_batch('{}'::bigint[]);
SELECT pgq_cancel_batch(ARRAY[1, NULL]::bigint[]);
SELECT pgq_move_batch('{}'::bigint[], 'there');
SELECT pgq_move_batch(ARRAY[1]::bigint[], NULL);
SELECT pgq_move_batch(ARRAY[1]::bigint[], '');
SELECT pgq_move_batch(ARRAY[1]::bigint[], 'nobody knows');
SELECT count(*) FROM pgq_list_queues() WHERE queue = 'nobody knows';
BEGIN READ ONLY;
SELECT pgq_update(1);
ROLLBACK;
BEGIN READ ONLY;
SELECT pgq_cancel(1);
ROLLBACK;
BEGIN READ ONLY;
SELECT pgq_move_batch(ARRAY[1]::bigint[], 'there');
ROLLBACK;
-- to those without a right the message is not there; a move needs one on both queues
CREATE ROLE regress_stranger;
SET ROLE regress_stranger;
SELECT pgq_push('strange', '1') AS strange \gset
SELECT pgq_update(:stays, '"never"'), pgq_cancel(:stays);
SELECT count(*) FROM pgq_cancel_batch(ARRAY[:stays]::bigint[]);
SELECT count(*) FROM pgq_move_batch(ARRAY[:stays]::bigint[], 'strange');
SELECT pgq_move_batch(ARRAY[:strange]::bigint[], 'there');
SELECT pgq_update(:strange, '"own"'), pgq_cancel(:strange);
RESET ROLE;
\set VERBOSITY default
SELECT queue, payload, state FROM pgq_get(:stays);
SELECT count(*) FROM unnest(ARRAY['strange', 'change', 'elsewhere', 'cancel', 'here', 'there', 'grouped', 'keyed', 'target']) q, pgq_drop_queue(q);
DROP ROLE regress_stranger;
