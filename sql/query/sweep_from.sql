-- The next window begins with the message $1, unless another round, by hand, sets the position.
UPDATE pgqueue.vacuum_run SET swept_to = $1 - 1
 WHERE only_row = (SELECT only_row FROM pgqueue.vacuum_run FOR UPDATE SKIP LOCKED)
