SELECT name FROM pgqueue.schedule WHERE name > $1 ORDER BY name LIMIT $2
