-- All queues. The first columns are for the check of rights.
SELECT owner_id, granted, id, name FROM pgqueue.queue_access ORDER BY name
