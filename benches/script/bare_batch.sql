INSERT INTO bare (payload) SELECT '{"n": 1}' FROM generate_series(1, 100);
WITH taken AS (SELECT id FROM bare ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED) DELETE FROM bare USING taken WHERE bare.id = taken.id;
