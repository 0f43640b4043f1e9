SELECT pgq_push('bench', '{"n": 1}');
SELECT id, delivery FROM pgq_reserve('bench') \gset
SELECT pgq_delete(:id::bigint, :delivery::int);
