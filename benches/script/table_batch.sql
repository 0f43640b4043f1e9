INSERT INTO plain (payload) SELECT '{"n": 1}' FROM generate_series(1, :size::int);
WITH next AS (SELECT id FROM plain WHERE visible_at <= clock_timestamp() ORDER BY id LIMIT :size::int FOR UPDATE SKIP LOCKED), leased AS (UPDATE plain SET visible_at = clock_timestamp() + interval '30 s', attempts = attempts + 1 FROM next WHERE plain.id = next.id RETURNING plain.id) SELECT coalesce(array_agg(id)::text, '{}') AS ids FROM leased \gset
DELETE FROM plain WHERE id = ANY (:ids::bigint[]);
