SELECT pgq_push('bench', '{"n": 1}');
SELECT id, delivery FROM pgq_next('bench', ARRAY[:id]::bigint[], ARRAY[:delivery]::int[]) \gset
