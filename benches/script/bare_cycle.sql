INSERT INTO bare (payload) VALUES ('{"n": 1}') RETURNING id \gset
DELETE FROM bare WHERE id = :id;
