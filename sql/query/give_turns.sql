-- For a queue that begins to keep the order of its groups: one of the leased messages of each group gets the
-- turn. They are locked in the order of a settle of many, by id.
WITH first AS MATERIALIZED (
    SELECT DISTINCT ON (group_key) id FROM pgqueue.message
     WHERE queue = $1 AND group_key IS NOT NULL AND lease_until > clock_timestamp()
     ORDER BY group_key, priority, id
), locked AS MATERIALIZED (
    SELECT id FROM pgqueue.message
     WHERE id = ANY (ARRAY(TABLE first)) AND queue = $1
     ORDER BY id
       FOR NO KEY UPDATE
)
UPDATE pgqueue.message m SET in_turn = true FROM locked WHERE m.id = locked.id AND NOT m.in_turn
