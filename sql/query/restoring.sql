-- True if queues or topics exist whose numbers the sequence has yet to give: a dump sets sequences after it has loaded
-- all tables. The sequence is locked first, as in DROP EXTENSION: two transactions that lock both in
-- different orders could wait for each other. The last queue comes from the index, however many there are.
SELECT given.last < greatest((SELECT id FROM pgqueue.queue ORDER BY id DESC LIMIT 1),
                             (SELECT id FROM pgqueue.topic ORDER BY id DESC LIMIT 1), 0)
  FROM (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END AS last FROM pgqueue.queue_id) given
