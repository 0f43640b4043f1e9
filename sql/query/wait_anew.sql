-- A message that waits again is one that nobody has had: it stands for its key, and no receipt
-- of it is good any more.
UPDATE pgqueue.message SET key_place = 0
 WHERE id = $1 AND deliveries > 0 AND key_place IS DISTINCT FROM 0 AND lease_until <= clock_timestamp()
