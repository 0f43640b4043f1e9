-- What drivers send: parameters without a type, or of the type that their language has.
\set ON_ERROR_STOP off
SELECT pgq_create_queue('drivers', '{"lease": "1 h", "max_deliveries": 0}');
SELECT count(*) FROM pgq_push_batch('drivers', array_fill('1'::jsonb, ARRAY[40]));

-- Parameters without a type.
PREPARE untyped_delete AS SELECT pgq_delete($1, $2);
PREPARE untyped_extend AS SELECT id = $1 FROM pgq_extend($1, $2, $3);
PREPARE untyped_release AS SELECT pgq_release($1, $2, $3);
PREPARE untyped_fail AS SELECT outcome FROM pgq_fail($1, $2, $3, $4);
PREPARE untyped_bury AS SELECT pgq_bury($1, $2, $3);
PREPARE untyped_cancel AS SELECT pgq_cancel($1);
PREPARE untyped_move AS SELECT pgq_move($1, $2) IS NOT NULL;
PREPARE untyped_delete_batch AS SELECT count(*) FROM pgq_delete_batch($1, $2);
PREPARE untyped_extend_batch AS SELECT count(*) FROM pgq_extend_batch($1, $2, $3);
PREPARE untyped_release_batch AS SELECT count(*) FROM pgq_release_batch($1, $2, $3);
PREPARE untyped_fail_batch AS SELECT count(*) FROM pgq_fail_batch($1, $2, $3, $4);
PREPARE untyped_bury_batch AS SELECT count(*) FROM pgq_bury_batch($1, $2, $3);
PREPARE untyped_cancel_batch AS SELECT count(*) FROM pgq_cancel_batch($1);
PREPARE untyped_move_batch AS SELECT count(*) FROM pgq_move_batch($1, $2);
SELECT id, delivery FROM pgq_reserve('drivers') \gset
EXECUTE untyped_extend(:'id', '2 h', :'delivery');
EXECUTE untyped_release(:'id', '0', :'delivery');
SELECT id, delivery FROM pgq_reserve('drivers') \gset
EXECUTE untyped_fail(:'id', 'no', :'delivery', '0');
SELECT id, delivery FROM pgq_reserve('drivers') \gset
EXECUTE untyped_delete(:'id', :'delivery');
SELECT id, delivery FROM pgq_reserve('drivers') \gset
EXECUTE untyped_bury(:'id', 'no', :'delivery');
SELECT id FROM pgq_peek('drivers') \gset
EXECUTE untyped_cancel(:'id');
SELECT pgq_create_queue('drivers too');
SELECT id FROM pgq_peek('drivers') \gset
EXECUTE untyped_move(:'id', 'drivers too');
EXECUTE untyped_move(:'id', 'drivers too');
SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('drivers', max => 2) \gset
EXECUTE untyped_extend_batch(:'ids', '2 h', :'deliveries');
EXECUTE untyped_release_batch(:'ids', '0', :'deliveries');
SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('drivers', max => 2) \gset
EXECUTE untyped_fail_batch(:'ids', 'no', :'deliveries', '0');
SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('drivers', max => 2) \gset
EXECUTE untyped_delete_batch(:'ids', :'deliveries');
SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('drivers', max => 2) \gset
EXECUTE untyped_bury_batch(:'ids', 'no', :'deliveries');
SELECT array_agg(id) AS ids FROM pgq_peek('drivers', 2) \gset
EXECUTE untyped_cancel_batch(:'ids');
SELECT array_agg(id) AS ids FROM pgq_peek('drivers', 2) \gset
EXECUTE untyped_move_batch(:'ids', 'drivers too');

-- The same by receipt; and beside it a plain id, without a type, is an id still.
PREPARE untyped_delete_id AS SELECT pgq_delete($1);
PREPARE untyped_by_receipt AS SELECT pgq_delete_by_receipt($1);
PREPARE untyped_strict_by_receipt AS SELECT pgq_delete_by_receipt($1, $2);
PREPARE untyped_extend_by_receipt AS SELECT count(*) FROM pgq_extend_by_receipt($1, $2);
PREPARE untyped_release_by_receipt AS SELECT pgq_release_by_receipt($1, $2);
PREPARE untyped_fail_by_receipt AS SELECT outcome FROM pgq_fail_by_receipt($1, $2, $3);
PREPARE untyped_bury_by_receipt AS SELECT pgq_bury_by_receipt($1, $2);
PREPARE untyped_delete_by_receipts AS SELECT count(*) FROM pgq_delete_by_receipts($1);
PREPARE varchar_by_receipt(varchar) AS SELECT pgq_delete_by_receipt($1);
PREPARE varchars_by_receipts(varchar[]) AS SELECT count(*) FROM pgq_delete_by_receipts($1);
PREPARE untyped_next_by_receipts AS SELECT count(*) FROM pgq_next($1, receipts => $2);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name ~ 'receipt|delete_id' ORDER BY 1;
SELECT receipt FROM pgq_reserve('drivers') \gset
EXECUTE untyped_extend_by_receipt(:'receipt', '2 h');
EXECUTE untyped_release_by_receipt(:'receipt', '0');
SELECT receipt FROM pgq_reserve('drivers') \gset
EXECUTE untyped_fail_by_receipt(:'receipt', 'no', '0');
SELECT receipt FROM pgq_reserve('drivers') \gset
EXECUTE untyped_by_receipt(:'receipt');
\set VERBOSITY sqlstate
EXECUTE untyped_strict_by_receipt(:'receipt', 'true');
\set VERBOSITY default
EXECUTE varchar_by_receipt(:'receipt');
SELECT receipt FROM pgq_reserve('drivers') \gset
EXECUTE untyped_bury_by_receipt(:'receipt', 'no');
SELECT array_agg(receipt) AS receipts FROM pgq_reserve('drivers', max => 2) \gset
EXECUTE untyped_delete_by_receipts(:'receipts');
EXECUTE varchars_by_receipts(:'receipts');
EXECUTE untyped_next_by_receipts('drivers', '{}');

-- Integers of any size, as the languages have them.
PREPARE big_delete(bigint, bigint) AS SELECT pgq_delete($1, $2);
PREPARE mixed_delete(bigint, integer) AS SELECT pgq_delete($1, $2);
PREPARE small_delete(bigint, smallint) AS SELECT pgq_delete($1, $2);
PREPARE big_extend(bigint, interval, bigint) AS SELECT count(*) FROM pgq_extend($1, $2, $3);
PREPARE big_release(bigint, interval, bigint) AS SELECT pgq_release($1, $2, $3);
PREPARE big_fail(bigint, text, bigint, interval) AS SELECT outcome FROM pgq_fail($1, $2, $3, $4);
PREPARE big_bury(bigint, text, bigint) AS SELECT pgq_bury($1, $2, $3);
PREPARE big_delete_batch(bigint[], bigint[]) AS SELECT count(*) FROM pgq_delete_batch($1, $2);
PREPARE mixed_delete_batch(bigint[], integer[]) AS SELECT count(*) FROM pgq_delete_batch($1, $2);
PREPARE big_reserve(text, bigint) AS SELECT id, delivery FROM pgq_reserve($1, max => $2);
PREPARE big_push(text, jsonb, bigint, bigint) AS SELECT pgq_push($1, $2, priority => $3, max_deliveries => $4) > 0;
PREPARE small_push(text, jsonb, smallint, smallint) AS SELECT pgq_push($1, $2, priority => $3, max_deliveries => $4) > 0;
PREPARE big_next(text, bigint[], bigint[], bigint) AS SELECT count(*) FROM pgq_next($1, $2, $3, max => $4);
PREPARE big_redrive(text, bigint) AS SELECT pgq_redrive($1, $2);
SELECT pgq_purge('drivers') > 0;
EXECUTE big_push('drivers', '1', -7, 3);
EXECUTE small_push('drivers', '2', -6::smallint, 0::smallint);
SELECT priority, max_deliveries FROM pgq_peek('drivers') m, pgq_get(m.id) g(id, queue, state, payload, body, headers, priority_too, group_key, dedup_key, delivery_too, max_deliveries);
EXECUTE big_reserve('drivers', 1) \gset
EXECUTE big_extend(:id, '2 h', :delivery);
EXECUTE big_release(:id, '0', :delivery);
EXECUTE big_reserve('drivers', 1) \gset
EXECUTE big_fail(:id, 'no', :delivery, '0');
EXECUTE big_reserve('drivers', 1) \gset
EXECUTE big_bury(:id, 'no', :delivery);
EXECUTE big_redrive('drivers', 1);
SELECT pgq_purge('drivers') > 0;
SELECT count(*) FROM pgq_push_batch('drivers', array_fill('1'::jsonb, ARRAY[9]), priority => 1::bigint);
EXECUTE big_reserve('drivers', 1) \gset
EXECUTE big_delete(:id, :delivery);
EXECUTE big_reserve('drivers', 1) \gset
EXECUTE mixed_delete(:id, :delivery);
EXECUTE big_reserve('drivers', 1) \gset
EXECUTE small_delete(:id, :delivery);
SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('drivers', max => 2) \gset
EXECUTE big_delete_batch(:'ids', :'deliveries');
SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('drivers', max => 2) \gset
EXECUTE mixed_delete_batch(:'ids', :'deliveries');
EXECUTE big_next('drivers', NULL, NULL, 1);
-- a receipt comes with the types that settle calls take
SELECT pg_typeof(id), pg_typeof(delivery) FROM pgq_peek('drivers', 1, 'leased');
-- a delivery that no message can have is none, also where its low bits are those of one
SELECT id FROM pgq_peek('drivers', 1, 'leased') \gset
EXECUTE big_delete(:id, 4294967297);
EXECUTE big_delete(:id, -4294967295);
EXECUTE big_delete_batch(ARRAY[:id], ARRAY[4294967297]);
-- numbers that mean nothing are refused by name; more than all is all
EXECUTE big_push('drivers', '1', 32768, 3);
EXECUTE big_push('drivers', '1', 4294967296, 3);
EXECUTE big_push('drivers', '1', 0, 2147483648);
EXECUTE big_push('drivers', '1', 0, -4294967295);
EXECUTE big_reserve('drivers', -4294967295);
SELECT count(*) FROM pgq_pop('drivers', max => 9223372036854775807);

-- Strict calls: false would arrive as a text, which is true in many languages.
SELECT id AS strict FROM pgq_push_batch('strict', ARRAY['1', '2', '3']::jsonb[]) AS id LIMIT 1 \gset
SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('strict', '1 h', max => 3) \gset
SELECT :'ids'::bigint[] || 9000000000000000000 AS more, :'deliveries'::bigint[] || 1::bigint AS more_deliveries \gset
SELECT (:'ids'::bigint[])[1] AS one, (:'ids'::bigint[])[2] AS two \gset
\set VERBOSITY sqlstate
SELECT pgq_delete(9000000000000000000, strict => true);
-- one message with a good receipt and an old one
SELECT pgq_delete_batch(ARRAY[:one, :one], ARRAY[1, 2], true);
\set VERBOSITY default
SELECT pgq_delete(9000000000000000000, 2, true);
SELECT pgq_extend(9000000000000000000, '1 h', 2, true);
SELECT pgq_release(9000000000000000000, '0', 2, true);
SELECT pgq_fail(9000000000000000000, 'no', 2, strict => true);
SELECT pgq_bury(9000000000000000000, 'no', 2, true);
SELECT pgq_delete_batch(:'more', :'more_deliveries', true);
SELECT pgq_extend_batch(:'more', '1 h', :'more_deliveries', true);
SELECT pgq_release_batch(:'more', '0', :'more_deliveries', true);
SELECT pgq_fail_batch(:'more', 'no', :'more_deliveries', strict => true);
SELECT pgq_bury_batch(:'more', 'no', :'more_deliveries', true);
SELECT * FROM pgq_next('strict', :'more', :'more_deliveries', strict => true);
SELECT pgq_delete_batch('{9000000000000000001,9000000000000000000}', strict => true);
-- of very many, the first hundred are named
DO $$
BEGIN
    PERFORM pgq_delete_batch(ARRAY(SELECT generate_series(9000000000000000000, 9000000000000000200)), strict => true);
EXCEPTION WHEN no_data_found THEN
    RAISE NOTICE '%', regexp_replace(SQLERRM, '0, .*99, ', '0 to ...99, ');
END $$;
-- a refusal has changed nothing
SELECT count(*), max(delivery), bool_or(leased_until > now() + '59 min'::interval) FROM pgq_peek('strict', 10, 'leased');
-- good receipts, given twice too
SELECT pgq_extend(:one, '2 h', 1, true) IS NOT NULL;
SELECT count(*) FROM pgq_extend_batch(ARRAY[:one, :one], '2 h', ARRAY[1, 1], true);
SELECT pgq_release(:one, '0', 1, true);
SELECT id = :one AS one, delivery FROM pgq_reserve('strict', '1 h');
SELECT outcome FROM pgq_fail(:one, 'no', 2, '0', true);
SELECT pgq_bury(:one, 'no', 2, true);
SELECT pgq_delete_batch(ARRAY[:two], ARRAY[1], true) = :two AS two;
SELECT count(*) FROM pgq_next('strict', (:'ids'::bigint[])[3:3], '{1}', strict => true);
SELECT pgq_delete(1, strict => NULL);
-- the work is undone with the call
CREATE TABLE work (id bigint);
CREATE FUNCTION work(message bigint, delivery bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO work VALUES (message);
    PERFORM pgq_delete(message, delivery, strict => true);
    RETURN 'done';
EXCEPTION WHEN no_data_found THEN
    RETURN 'not mine any more';
END $$;
SELECT pgq_push('strict', '4') AS id \gset
SELECT delivery FROM pgq_reserve('strict', '1 h') \gset
SELECT work(:id, :delivery + 1), work(:id, :delivery), work(:id, :delivery);
SELECT count(*) FROM work;
DROP FUNCTION work;
DROP TABLE work;

-- What pgq_next refused.
SELECT count(*) FROM pgq_push_batch('next', ARRAY['1', '2', '3']::jsonb[]);
SELECT array_agg(id) AS ids FROM pgq_reserve('next', '1 h', max => 2) \gset
SELECT id = (:'ids'::bigint[])[2] AS second, queue, payload, delivery, leased_until IS NULL AS refused
  FROM pgq_next('next', :'ids', '{1,7}', show_refused => true);
SELECT id = (:'ids'::bigint[])[2] AS second, queue, payload, delivery, leased_until IS NULL AS refused
  FROM pgq_next('next', :'ids', NULL, show_refused => true);
SELECT * FROM pgq_next('next', '{9000000000000000000,9000000000000000000}', show_refused => true);
SELECT id, delivery FROM pgq_next('next', '{1,1,2}', '{9000000000000000000,5000000000,-5000000000}', show_refused => true);
SELECT pgq_delete(1, 5000000000), pgq_release(1, '0', -5000000000);
SELECT count(*) FROM pgq_fail_batch('{1}', 'no', '{5000000000}');
SELECT count(*) FROM pgq_next('next', '{9000000000000000000}');
SELECT pgq_next('next', NULL, strict => NULL);
SELECT pgq_next('next', NULL, show_refused => NULL);

-- A loop that has settled nothing: no rows, whatever the types of its parameters.
EXECUTE untyped_delete_batch('{}', '{}');
EXECUTE untyped_extend_batch('{}', '1 h', '{}');
EXECUTE untyped_release_batch('{}', '0', '{}');
EXECUTE untyped_fail_batch('{}', 'no', '{}', NULL);
EXECUTE untyped_bury_batch('{}', 'no', '{}');
EXECUTE untyped_cancel_batch('{}');
EXECUTE untyped_move_batch('{}', 'drivers');
SELECT count(*) FROM pgq_delete_batch('{}', strict => true);
SELECT count(*) FROM pgq_next('next', '{}', '{}');
SELECT count(*) FROM pgq_push_batch('nothing', '{}');
SELECT count(*) FROM pgq_push_batch('nothing', '{}', '{}', dedup_keys => '{}');
SELECT count(*) FROM pgq_push_bytes_batch('nothing', '{}');
SELECT count(*) FROM pgq_list_queues() WHERE queue = 'nothing';
SELECT pgq_delete_batch('{}', '{1}');
SELECT pgq_delete_batch('{1}', '{}');
SELECT pgq_push_batch('nothing', '{}', '{1}');
SELECT pgq_extend_batch('{}', NULL);
SELECT pgq_fail_batch('{}', NULL);

-- A channel that needs no quotes; an age that needs no interval.
SELECT pgq_create_queue('channel', '{"notify": "orders_ready"}');
SELECT settings FROM pgq_list_queues() WHERE queue = 'channel';
SELECT pgq_alter_queue('channel', jsonb_build_object('notify', repeat('c', 63))) IS NOT NULL;
SELECT pgq_alter_queue('channel', jsonb_build_object('notify', repeat('c', 64)));
SELECT pgq_alter_queue('channel', '{"notify": ""}');
SELECT pgq_alter_queue('channel', '{"notify": ["orders_ready"]}');
SELECT pgq_alter_queue('channel', '{"notify": "true"}');
SELECT pgq_create_queue('a string', '{"notify": "False"}');
SELECT pgq_create_queue(repeat('q', 60), '{"notify": true}');
SELECT pgq_create_queue(repeat('q', 60), '{"notify": "orders_ready"}');
SELECT oldest_ready_seconds, oldest_ready_age FROM pgq_stats('channel');
SELECT pgq_push('channel', '1', delay => make_interval(secs => 0)) > 0, pg_sleep(0.05);
SELECT oldest_ready_seconds BETWEEN 0.05 AND 60, oldest_ready_age >= '50 ms',
       abs(oldest_ready_seconds - extract(epoch FROM oldest_ready_age)) < 0.000001
  FROM pgq_stats('channel');
SELECT pg_typeof(oldest_ready_seconds) FROM pgq_stats('channel');

-- No name is overloaded, and no parameter is a smaller integer than a bigint.
SELECT proname, count(*) FROM pg_proc WHERE proname ~ '^pgq_' GROUP BY 1 HAVING count(*) > 1;
SELECT oid::regprocedure FROM pg_proc WHERE proname ~ '^pgq_' AND proargtypes::oid[] && '{int2,int4,_int2,_int4}'::regtype[]::oid[];
