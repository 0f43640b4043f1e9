\set n random(1, 9000000000000000000)
SELECT pgq_push('keyed', '1', dedup_key => (:n)::text);
