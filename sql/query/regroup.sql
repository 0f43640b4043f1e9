-- After a queue began ($2) or ceased to keep the order of its groups. What is leased when
-- it begins goes before all others of its group.
UPDATE pgqueue.message
   SET lane = CASE WHEN lane = 'b' THEN 'r' ELSE lane END,
       in_turn = $2 AND lease_until > clock_timestamp()
 WHERE queue = $1 AND group_key IS NOT NULL
   AND (lane = 'b' OR in_turn <> ($2 AND lease_until > clock_timestamp()))
