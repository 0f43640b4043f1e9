-- Whether queues are there whose numbers have yet to be given: a dump sets sequences when all
-- tables are loaded.
SELECT (SELECT coalesce(max(id), 0) FROM pgqueue.queue)
       > (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM pgqueue.queue_id)
