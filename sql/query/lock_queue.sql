-- Locks the queue $1 for a change other than its removal: subscriptions and foreign keys may still refer to it.
SELECT FROM pgqueue.queue WHERE id = $1 FOR NO KEY UPDATE
