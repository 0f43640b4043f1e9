-- How many messages of a queue are there, as far as it is written down.
SELECT coalesce(sum(ready + delayed + blocked), 0)::bigint FROM pgqueue.counter WHERE queue = $1
