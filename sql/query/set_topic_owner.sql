-- Sets name and number, as in set_owner.sql.
UPDATE pgqueue.topic SET owner = $2::name, owner_id = $3 WHERE id = $1
