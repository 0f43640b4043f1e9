SELECT count(*) FROM pgmq.send_batch('bench', array_fill('{"n": 1}'::jsonb, ARRAY[:size::int]));
SELECT coalesce(array_agg(msg_id), '{}')::text AS ids FROM pgmq.read('bench', 30, :size::int) \gset
SELECT count(*) FROM pgmq.delete('bench', :ids::bigint[]);
