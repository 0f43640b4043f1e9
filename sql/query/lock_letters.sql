-- Locks dead letters in the order of their ids.
SELECT id, queue, died_at FROM pgqueue.dead WHERE id = ANY ($1) ORDER BY id FOR UPDATE
