-- Until the end of this transaction no other one writes to the slot.
SELECT number FROM pgqueue.slot WHERE queue = $1 AND number = $2 FOR UPDATE SKIP LOCKED
