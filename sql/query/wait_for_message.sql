SELECT FROM pgqueue.message WHERE id = $1 FOR UPDATE
