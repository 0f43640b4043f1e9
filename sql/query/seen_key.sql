SELECT id FROM pgqueue.recent_key WHERE queue = $1 AND dedup_key = $2
