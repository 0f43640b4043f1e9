-- The rights on queue $1 that were granted to any of the roles $2.
SELECT DISTINCT privilege FROM pgqueue.privilege WHERE queue = $1 AND role_id = ANY ($2)
