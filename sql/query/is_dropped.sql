SELECT FROM pgqueue.dropped_queue WHERE queue = $1
