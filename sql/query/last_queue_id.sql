-- The last number that was given to a queue, whether its transaction has committed or not.
SELECT last_value FROM pgqueue.queue_id
