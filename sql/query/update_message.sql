-- Changes a message; $6 is now, and a null keeps a column. A blocked message becomes ready: it may be the
-- first of its group now, which the next reserve checks. New content makes all receipts invalid; new content
-- of an echo replaces that of the older message (engine/message/siblings.rs), as does that of a message that was
-- delivered, if an older one of its key waits undelivered ($7).
UPDATE pgqueue.message
   SET key_place = CASE WHEN num_nonnulls($2, $3) = 0 THEN key_place
                        WHEN key_place < 0 OR $7 AND key_place > 0 THEN -2
                        WHEN deliveries > 0 THEN 0
                        ELSE key_place END,
       in_turn  = in_turn AND NOT (num_nonnulls($2, $3) > 0 AND $7 AND key_place > 0),
       payload  = coalesce($2, payload),
       body     = CASE WHEN $2 IS NULL THEN body END,
       headers  = coalesce($3, headers),
       priority = coalesce($4, priority),
       lane     = CASE WHEN $5 IS NULL AND lane = 'd' THEN 'd' WHEN $5 > $6 THEN 'd' ELSE 'r' END::"char",
       due_at   = CASE WHEN $5 IS NULL THEN due_at WHEN $5 > $6 THEN $5 END
 WHERE id = $1
