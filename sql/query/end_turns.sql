-- For a page ($2) of the messages of a queue that ceases to keep the order of its groups.
UPDATE pgqueue.message
   SET lane = CASE WHEN lane = 'b' THEN 'r' ELSE lane END, in_turn = false
 WHERE id = ANY ($2) AND queue = $1 AND (lane = 'b' OR in_turn)
