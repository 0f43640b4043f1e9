SELECT count(*) FROM pgmq.send_batch('bench', array_fill('{"n": 1}'::jsonb, ARRAY[:size::int]));
SELECT count(*) FROM (SELECT array_agg(msg_id) AS ids FROM pgmq.read('bench', 30, :size::int) HAVING count(*) > 0) taken, pgmq.delete('bench', ids);
