-- A message that waits again stands for its key, as if it had never been leased.
UPDATE pgqueue.message SET key_place = 0
 WHERE id = $1 AND key_place <> 0 AND lease_until <= clock_timestamp()
