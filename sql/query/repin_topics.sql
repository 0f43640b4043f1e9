-- Clears the owners' role numbers, as in repin_queues.sql.
UPDATE pgqueue.topic SET owner_id = NULL WHERE owner_id IS NOT NULL
