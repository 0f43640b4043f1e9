-- True if queues exist whose numbers the sequence has yet to give: a dump sets sequences after it has loaded
-- all tables. The sequence is locked first, as in DROP EXTENSION: two transactions that lock both in
-- different orders could wait for each other.
SELECT EXISTS (SELECT FROM pgqueue.queue
                WHERE id > (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM pgqueue.queue_id))
