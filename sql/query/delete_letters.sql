DELETE FROM pgqueue.dead WHERE id = ANY ($1)
