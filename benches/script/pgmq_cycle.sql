SELECT pgmq.send('bench', '{"n": 1}');
SELECT msg_id FROM pgmq.read('bench', 30, 1) \gset
SELECT pgmq.delete('bench', :msg_id::bigint);
