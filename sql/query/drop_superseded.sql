-- Removes a superseded message, unless a push has counted on it meanwhile, or it was leased again: its key_place
-- has changed.
DELETE FROM pgqueue.message
 WHERE id = (SELECT m.id FROM pgqueue.message m
              WHERE m.id = $1 AND m.key_place = $2 AND m.queue = $3 AND m.lease_until <= clock_timestamp()
                FOR UPDATE SKIP LOCKED)
