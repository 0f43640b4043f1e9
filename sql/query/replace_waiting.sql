-- Replaces the waiting message in place by the new one, which was never delivered; $13 is its key_place. It
-- loses its turn in its group if it becomes an echo, which is passed over there. It
-- keeps its deliveries, so that no receipt is ever valid twice. It can be delivered at least once, whatever
-- its limit or that of the queue ($12).
UPDATE pgqueue.message
   SET key_place = $13, priority = $2, lane = $3, due_at = $4, expires_at = $5, lease_ms = $6,
       max_deliveries = CASE WHEN coalesce($7, $12) > 0 AND deliveries - coalesce(given_back, 0) >= coalesce($7, $12)
                             THEN deliveries - coalesce(given_back, 0) + 1 ELSE $7 END,
       in_turn = in_turn AND group_key IS NOT DISTINCT FROM $8 AND $13 >= 0, group_key = $8,
       payload = $9, body = $10, headers = $11, lease_until = '-infinity'
 WHERE id = $1 AND lease_until <= clock_timestamp()
