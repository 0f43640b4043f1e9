INSERT INTO pgqueue.message
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
ON CONFLICT (queue, dedup_key, key_place) WHERE dedup_key IS NOT NULL DO NOTHING
