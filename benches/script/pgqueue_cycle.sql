SELECT pgq_push('bench', '{"n": 1}');
SELECT coalesce(max(id), 0) AS id, coalesce(max(delivery), 0) AS delivery FROM pgq_reserve('bench') \gset
SELECT pgq_delete(:id::bigint, :delivery::int);
