-- Clears the owners' role numbers, and the trigger pin_role sets those of this server: the rows come from a
-- server where the roles had other numbers.
UPDATE pgqueue.queue SET owner_id = NULL WHERE owner_id IS NOT NULL
