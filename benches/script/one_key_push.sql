SELECT pgq_push('hot', '1', dedup_key => 'k');
