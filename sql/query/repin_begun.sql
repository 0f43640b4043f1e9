-- Like repin_queues.sql, for queues that are begun.
UPDATE pgqueue.begun_queue SET owner_id = NULL WHERE owner_id IS NOT NULL
