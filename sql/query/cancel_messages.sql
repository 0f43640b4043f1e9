DELETE FROM pgqueue.message WHERE id = ANY ($1)
