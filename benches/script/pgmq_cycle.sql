SELECT pgmq.send('bench', '{"n": 1}');
SELECT coalesce(max(msg_id), 0) AS id FROM pgmq.read('bench', 30, 1) \gset
SELECT pgmq.delete('bench', :id::bigint);
