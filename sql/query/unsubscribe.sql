DELETE FROM pgqueue.subscription WHERE topic = $1 AND queue = $2 AND ($3 IS NULL OR pattern = $3)
