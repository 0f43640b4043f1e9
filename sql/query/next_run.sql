SELECT next_run FROM pgqueue.schedule WHERE next_run > $1 ORDER BY next_run LIMIT 1
