-- What comes out is equal to what went in.
CREATE TABLE sample (n int GENERATED ALWAYS AS IDENTITY, payload jsonb);
INSERT INTO sample (payload) VALUES
    ('null'), ('3'), ('"x"'), ('""'), ('true'), ('{}'), ('[]'),
    ('1234567890123456789012345678901234567890.1234567890123456789012345678901234567890'),
    ('1E400'), ('-0.0000000000000000000000000000000000000001'),
    ('"\ud83d\ude00 \u00e9 \u4e2d"'), ('"tab\t quote\" backslash\\"'),
    ('{"b": 1, "a": {"deep": [1, [2, [3, null]]]}}'),
    (jsonb_build_object('long', repeat('pgqueue ', 100000))),
    ((SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 20000) i));
SELECT count(*) FROM sample;
SELECT count(*) FROM (SELECT pgq_push('sample', payload) FROM sample ORDER BY n) pushed;
SELECT count(*) AS same
  FROM (SELECT n, payload::text AS went_in FROM sample) s
  JOIN (SELECT row_number() OVER () AS n, payload::text AS came_out FROM pgq_reserve('sample', max => 100)) r USING (n)
 WHERE went_in = came_out;
SELECT payload FROM pgq_peek('sample', max => 100, state => 'leased') WHERE length(payload::text) < 200;
-- popped payloads outlive their rows
SELECT count(*) FROM (SELECT pgq_push('popped', payload) FROM sample) pushed;
CREATE TABLE popped AS SELECT * FROM pgq_pop('popped', max => 100);
SELECT count(*) AS same FROM sample JOIN popped ON sample.payload::text = popped.payload::text;
-- headers too
SELECT pgq_push('headers', '0', headers => (SELECT jsonb_object_agg('k' || n, payload) FROM sample)) IS NOT NULL AS pushed;
SELECT headers::text = (SELECT jsonb_object_agg('k' || n, payload) FROM sample)::text AS same FROM pgq_reserve('headers');
-- bodies of all bytes, and one of 100 MB
SELECT pgq_push_bytes('bodies', (SELECT string_agg(decode(lpad(to_hex(i), 2, '0'), 'hex'), '' ORDER BY i)
                                   FROM generate_series(0, 255) i)) IS NOT NULL AS pushed;
SELECT length(body), md5(body) FROM pgq_pop('bodies');
SELECT pgq_push_bytes('bodies', decode(repeat('00ff42', 33333334), 'hex')) IS NOT NULL AS pushed;
SELECT length(body), md5(body) = md5(decode(repeat('00ff42', 33333334), 'hex')) AS same, pgq_release(id) AS released FROM pgq_reserve('bodies');
SELECT length(body), md5(body) = md5(decode(repeat('00ff42', 33333334), 'hex')) AS same FROM pgq_pop('bodies');
DROP TABLE sample, popped;
