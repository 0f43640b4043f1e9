SELECT queue, count(*) FILTER (WHERE lane = 'r'), count(*) FILTER (WHERE lease_until > '-infinity'),
       count(*) FILTER (WHERE lane = 'd'), count(*) FILTER (WHERE lane = 'b')
  FROM gone
 GROUP BY queue
