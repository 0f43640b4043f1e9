-- Until the end of this transaction no other one writes to the slots.
SELECT number FROM pgqueue.slot WHERE queue = $1 ORDER BY number FOR UPDATE
