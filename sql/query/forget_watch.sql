DELETE FROM pgqueue.watch_seen WHERE watch = $1
