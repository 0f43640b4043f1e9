-- From now on nobody writes into them.
SELECT number FROM pgqueue.slot WHERE queue = $1 ORDER BY number FOR UPDATE
