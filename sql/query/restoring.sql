-- Whether queues are there whose numbers have yet to be given: a dump sets sequences when all
-- tables are loaded. The sequence comes first, as with DROP EXTENSION: two that lock both in
-- different orders could wait for each other.
SELECT (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM pgqueue.queue_id)
       < (SELECT coalesce(max(id), 0) FROM pgqueue.queue)
