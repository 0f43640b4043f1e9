-- The first deleted message of each group.
SELECT DISTINCT ON (queue, group_key) queue, group_key, in_turn, priority::integer, id
  FROM gone
 WHERE group_key IS NOT NULL
 ORDER BY queue, group_key, in_turn DESC, priority, id
