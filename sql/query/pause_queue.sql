UPDATE pgqueue.queue SET paused = $2 WHERE id = $1 AND paused <> $2
