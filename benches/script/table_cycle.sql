INSERT INTO plain (payload) VALUES ('{"n": 1}');
WITH next AS (SELECT id FROM plain WHERE visible_at <= clock_timestamp() ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED), leased AS (UPDATE plain SET visible_at = clock_timestamp() + interval '30 s', attempts = attempts + 1 FROM next WHERE plain.id = next.id RETURNING plain.id) SELECT coalesce(max(id), 0) AS id FROM leased \gset
DELETE FROM plain WHERE id = :id;
