-- All queues. The first columns are for the check of rights.
SELECT id, owner_id, has_grants, name FROM pgqueue.queue_access ORDER BY name
