DELETE FROM pgqueue.slot WHERE queue = $1
