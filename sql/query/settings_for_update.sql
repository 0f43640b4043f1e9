SELECT settings FROM pgqueue.queue WHERE id = $1 FOR UPDATE
