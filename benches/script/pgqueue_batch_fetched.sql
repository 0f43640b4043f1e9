SELECT count(*) FROM pgq_push_batch('bench', array_fill('{"n": 1}'::jsonb, ARRAY[:size::int]));
SELECT coalesce(array_agg(id), '{}')::text AS ids, coalesce(array_agg(delivery), '{}')::text AS deliveries FROM pgq_reserve('bench', max => :size::int) \gset
SELECT count(*) FROM pgq_delete_batch(:ids::bigint[], :deliveries::bigint[]);
