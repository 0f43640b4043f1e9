-- Clears the role numbers of grants, as in repin_queues.sql.
UPDATE pgqueue.privilege SET role_id = NULL WHERE role_id IS NOT NULL
