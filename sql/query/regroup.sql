-- For a queue that began ($2) or ceased to keep the order of its groups. If it began, one of the leased
-- messages of each group gets the turn.
UPDATE pgqueue.message m
   SET lane = CASE WHEN m.lane = 'b' THEN 'r' ELSE m.lane END, in_turn = turn.is_first
  FROM (SELECT id, $2 AND lease_until > clock_timestamp()
               AND row_number() OVER (PARTITION BY group_key
                                      ORDER BY lease_until > clock_timestamp() DESC, priority, id) = 1 AS is_first
          FROM pgqueue.message
         WHERE queue = $1 AND group_key IS NOT NULL) turn
 WHERE m.id = turn.id AND (m.lane = 'b' OR m.in_turn <> turn.is_first)
