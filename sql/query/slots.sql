SELECT number, message, delivery FROM pgqueue.slot WHERE queue = $1 ORDER BY random()
