-- Whose the queues are: the roles have other numbers here than where the rows come from.
UPDATE pgqueue.queue SET owner_id = NULL WHERE owner_id IS NOT NULL
