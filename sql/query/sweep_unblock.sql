WITH free AS (
    SELECT id FROM pgqueue.message WHERE id = ANY ($1) AND lane = 'b' FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE pgqueue.message m SET lane = 'r' FROM free WHERE m.id = free.id
