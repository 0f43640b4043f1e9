-- From now on nobody else writes into it.
SELECT number FROM pgqueue.slot WHERE queue = $1 AND number = $2 FOR UPDATE SKIP LOCKED
