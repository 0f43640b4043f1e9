UPDATE pgqueue.queue SET settings = $2 WHERE id = $1
