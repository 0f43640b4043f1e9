-- Sets name and number: a role that is gone may have had the same name.
UPDATE pgqueue.queue SET owner = $2::name, owner_id = $3 WHERE id = $1
