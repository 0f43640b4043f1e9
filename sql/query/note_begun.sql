INSERT INTO pgqueue.begun_queue (queue, name, owner, grants) VALUES ($1, $2, $3::name, $4)
