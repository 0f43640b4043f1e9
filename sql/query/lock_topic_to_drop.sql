SELECT FROM pgqueue.topic WHERE id = $1 FOR UPDATE
