-- The topic named $1.
-- The first columns are for the check of rights.
SELECT id, owner_id, has_grants, name FROM pgqueue.topic_access WHERE name = $1
