-- Number of messages of a queue according to its written counters.
SELECT coalesce(sum(ready + delayed + blocked), 0)::bigint FROM pgqueue.counter WHERE queue = $1
