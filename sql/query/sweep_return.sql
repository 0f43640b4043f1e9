WITH free AS (
    SELECT id FROM pgqueue.message
     WHERE id = ANY ($2) AND lease_until <= $1 AND lease_until > '-infinity'
       FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE pgqueue.message m SET lease_until = '-infinity' FROM free WHERE m.id = free.id
