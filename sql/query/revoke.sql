DELETE FROM pgqueue.privilege WHERE queue = $1 AND role_id = $2 AND privilege = $3
