SELECT queue, count(*) FILTER (WHERE lane = 'r'), count(*) FILTER (WHERE lease_until > '-infinity'),
       count(*) FILTER (WHERE lane = 'd'), count(*) FILTER (WHERE lane = 'b'),
       count(*) FILTER (WHERE dedup_key IS NOT NULL AND key_place <= 0)
  FROM gone
 GROUP BY queue
