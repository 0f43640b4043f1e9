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
