-- Notes the message with which a key was pushed.
UPDATE pgqueue.recent_key SET id = $3 WHERE queue = $1 AND dedup_key = $2 AND id <> $3
