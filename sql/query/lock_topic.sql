-- Locks the topic $1 for a change other than its removal: it may still be subscribed to.
SELECT FROM pgqueue.topic WHERE id = $1 FOR NO KEY UPDATE
