SELECT count(*) FROM pgq_push_batch('bench', array_fill('{"n": 1}'::jsonb, ARRAY[100]));
SELECT count(*) FROM (SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('bench', max => 100)) taken, pgq_delete(ids, deliveries);
