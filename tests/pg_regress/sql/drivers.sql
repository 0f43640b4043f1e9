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
