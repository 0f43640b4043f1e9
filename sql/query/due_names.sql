-- Schedules of the owners $3 that are due ($1), at most $2 of each: name, owner, since when, and the how many-th
-- of its owner it is. A null owner is 0.
SELECT d.name, o.owner, d.due, row_number() OVER (PARTITION BY o.owner ORDER BY d.due, d.name)
  FROM unnest($3) AS o (owner),
       LATERAL (SELECT name, greatest(next_run, retry_at) AS due FROM pgqueue.schedule
                 WHERE query IS NULL AND coalesce(owner_id, 0) = o.owner
                   AND greatest(next_run, retry_at) <= $1
                 ORDER BY greatest(next_run, retry_at), name
                 LIMIT $2) d
