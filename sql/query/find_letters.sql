SELECT id, queue FROM pgqueue.dead WHERE id = ANY ($1)
