-- Changes the content of a slot that this transaction has locked.
UPDATE pgqueue.slot SET message = $3, delivery = $4, writer = $5 WHERE queue = $1 AND number = $2
