SELECT count(*) FROM pgq_push_batch('bench', array_fill('{"n": 1}'::jsonb, ARRAY[:size::int]));
SELECT count(*) FROM (SELECT array_agg(id) AS ids, array_agg(delivery) AS deliveries FROM pgq_reserve('bench', max => :size::int) HAVING count(*) > 0) taken, pgq_delete_batch(ids, deliveries);
