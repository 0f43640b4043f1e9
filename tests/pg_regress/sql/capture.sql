-- Change capture: what a statement changes is pushed.
SET client_min_messages = warning;
CREATE FUNCTION changes(q text) RETURNS SETOF jsonb LANGUAGE sql AS $$ SELECT payload FROM pgq_pop(q, max => 1000) $$;
CREATE TABLE item (id int PRIMARY KEY, name text, price numeric, twice numeric GENERATED ALWAYS AS (price * 2) STORED);
CREATE TRIGGER capture AFTER INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION pgq_capture('items');
INSERT INTO item VALUES (1, 'one', 1.10), (2, NULL, 12345678901234567890123456789.012345678901234567890);
UPDATE item SET name = 'two', price = NULL WHERE id = 2;
DELETE FROM item WHERE id = 2;
SELECT * FROM changes('items');
-- an update that changes nothing pushes nothing; one that changes a scale does
UPDATE item SET name = name;
SELECT * FROM changes('items');
UPDATE item SET price = 1.1;
SELECT * FROM changes('items');
-- a changed key is the end of one row and the beginning of another
UPDATE item SET id = 3;
SELECT * FROM changes('items');
-- it is part of the transaction
BEGIN;
INSERT INTO item VALUES (4, 'four');
SAVEPOINT s;
DELETE FROM item;
ROLLBACK TO s;
COMMIT;
SELECT * FROM changes('items');
-- columns that are dropped, added and of other types
CREATE DOMAIN positive AS numeric CHECK (VALUE > 0);
ALTER TABLE item DROP COLUMN name, ADD COLUMN amount positive, ADD COLUMN made timestamptz, ADD COLUMN tags text[], ADD COLUMN raw bytea, ADD COLUMN doc jsonb;
SET timezone = 'UTC';
INSERT INTO item (id, amount, made, tags, raw, doc) VALUES (5, 1e-30, '2026-01-01 00:00:00.000001+01', '{a,NULL}', '\x00ff', '{"n": 1.000}');
SELECT * FROM changes('items');
RESET timezone;
-- large values that are stored apart
INSERT INTO item (id, tags) SELECT 6, array_agg(md5(n::text)) FROM generate_series(1, 5000) n;
UPDATE item SET price = 6 WHERE id = 6;
DELETE FROM item WHERE id = 6;
SELECT change ->> 'op' AS op, jsonb_array_length(change #> '{old,tags}') AS old, jsonb_array_length(change #> '{new,tags}') AS new FROM changes('items') change;
DROP TABLE item;
-- key columns by name; without a key it is null
CREATE TABLE "We ""ird. tab'le" ("a ""b" int, "C'd" text, old text, "new" int, "t" int, change int, "key" int, doc int);
CREATE TRIGGER "we ird" AFTER INSERT OR UPDATE OR DELETE ON "We ""ird. tab'le" FOR EACH ROW EXECUTE FUNCTION pgq_capture('weird queue', 'a "b', 'C''d');
INSERT INTO "We ""ird. tab'le" VALUES (1, 'x', 'o', 2, 3, 4, 5, 6);
UPDATE "We ""ird. tab'le" SET old = NULL;
SELECT * FROM changes('weird queue');
CREATE TABLE keyless (a int, b int);
CREATE TRIGGER capture AFTER INSERT OR UPDATE OR DELETE ON keyless FOR EACH ROW EXECUTE FUNCTION pgq_capture('keyless');
INSERT INTO keyless VALUES (1, 1);
UPDATE keyless SET a = 2;
DELETE FROM keyless;
SELECT * FROM changes('keyless');
-- partitions
CREATE TABLE parted (id int, region text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu');
CREATE TABLE parted_us (region text NOT NULL, dropped int, id int NOT NULL);
ALTER TABLE parted_us DROP COLUMN dropped;
ALTER TABLE parted ATTACH PARTITION parted_us FOR VALUES IN ('us');
CREATE TRIGGER capture AFTER INSERT OR UPDATE OR DELETE ON parted FOR EACH ROW EXECUTE FUNCTION pgq_capture('parted');
INSERT INTO parted VALUES (1, 'eu'), (2, 'us');
UPDATE parted SET region = 'us' WHERE id = 1;
SELECT * FROM changes('parted');
-- for each statement: the same messages
CREATE TABLE bulk (id int PRIMARY KEY DEFERRABLE, v numeric);
CREATE TRIGGER i AFTER INSERT ON bulk REFERENCING NEW TABLE AS "N ""ew" FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('bulk');
CREATE TRIGGER u AFTER UPDATE ON bulk REFERENCING OLD TABLE AS change NEW TABLE AS r FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('bulk');
CREATE TRIGGER d AFTER DELETE ON bulk REFERENCING OLD TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('bulk');
INSERT INTO bulk VALUES (3, 3), (1, 1.10), (2, NULL);
UPDATE bulk SET v = v + 0 WHERE id <> 3;
UPDATE bulk SET v = id + 0.50;
UPDATE bulk SET id = 4 - id;
UPDATE bulk SET id = id + 1;
DELETE FROM bulk WHERE id > 2;
DELETE FROM bulk WHERE false;
SELECT * FROM changes('bulk');
ALTER TABLE bulk DROP CONSTRAINT bulk_pkey, ADD PRIMARY KEY (id);
INSERT INTO bulk VALUES (2, 7), (9, 9) ON CONFLICT (id) DO UPDATE SET v = excluded.v;
SELECT * FROM changes('bulk');
-- many rows, and keys that are not unique
TRUNCATE bulk;
INSERT INTO bulk SELECT n, n FROM generate_series(1, 2345) n;
UPDATE bulk SET v = v + 1 WHERE id % 2 = 0;
SELECT payload ->> 'op' AS op, count(*), min((payload #>> '{key,id}')::int), max((payload #>> '{key,id}')::int), bool_and((payload #>> '{new,v}')::int - (payload ->> 'op' = 'update')::int = (payload #>> '{new,id}')::int) AS as_it_was
  FROM pgq_pop('bulk', max => 10000) GROUP BY 1 ORDER BY 1;
CREATE TABLE loose (k int, v int);
CREATE TRIGGER u AFTER UPDATE ON loose REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('loose', 'k');
INSERT INTO loose VALUES (1, 1), (1, 2), (NULL, 3);
UPDATE loose SET v = v + 10;
SELECT * FROM changes('loose');
-- rights: the owner of the table must have one on the queue, whoever writes
CREATE ROLE regress_owner;
CREATE ROLE regress_writer;
CREATE ROLE regress_thief;
CREATE SCHEMA regress_capture;
GRANT ALL ON SCHEMA regress_capture TO PUBLIC;
SET ROLE regress_owner;
SELECT pgq_create_queue('owned');
CREATE TABLE regress_capture.owned (id int PRIMARY KEY);
CREATE TRIGGER capture AFTER INSERT ON regress_capture.owned FOR EACH ROW EXECUTE FUNCTION pgq_capture('owned');
GRANT INSERT ON regress_capture.owned TO regress_writer;
RESET ROLE;
SET ROLE regress_writer;
INSERT INTO regress_capture.owned VALUES (1);
SELECT session_user = current_user AS reset, current_setting('search_path');
RESET ROLE;
SET ROLE regress_owner;
SELECT * FROM changes('owned');
RESET ROLE;
SET ROLE regress_thief;
CREATE TABLE regress_capture.stolen (id int PRIMARY KEY);
CREATE TRIGGER capture AFTER INSERT ON regress_capture.stolen FOR EACH ROW EXECUTE FUNCTION pgq_capture('owned');
GRANT INSERT ON regress_capture.stolen TO PUBLIC;
\set VERBOSITY sqlstate
INSERT INTO regress_capture.stolen VALUES (1);
RESET ROLE;
-- not even where somebody writes who has a right
SET ROLE regress_owner;
INSERT INTO regress_capture.stolen VALUES (1);
\set VERBOSITY default
RESET ROLE;
-- a cast to JSON that a type brings along runs as who writes, not as the extension's owner
SET ROLE regress_thief;
SET search_path = regress_capture, public;
CREATE TYPE trap AS ENUM ('bait');
CREATE FUNCTION spring(trap) RETURNS json LANGUAGE sql AS $$ SELECT to_json(current_user::text) $$;
CREATE CAST (trap AS json) WITH FUNCTION spring(trap);
CREATE TABLE trapped (id int PRIMARY KEY, t trap);
CREATE TRIGGER capture AFTER INSERT ON trapped FOR EACH ROW EXECUTE FUNCTION pgq_capture('trapped');
CREATE TRIGGER capture_all AFTER INSERT ON trapped REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('trapped');
-- nothing resolves through the search path
CREATE FUNCTION to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"hijacked"'::jsonb $$;
CREATE TABLE unnest (id int);
SET search_path = regress_capture, public, pg_catalog;
GRANT INSERT ON trapped TO regress_writer;
RESET ROLE;
SET ROLE regress_writer;
INSERT INTO trapped VALUES (1, 'bait');
RESET ROLE;
SET ROLE regress_thief;
SELECT * FROM changes('trapped');
RESET search_path;
RESET ROLE;
DROP SCHEMA regress_capture CASCADE;
SELECT pgq_drop_queue('owned'), pgq_drop_queue('trapped');
DROP ROLE regress_owner, regress_writer, regress_thief;
-- mistakes
\set VERBOSITY sqlstate
SELECT pgq_capture();
CREATE TABLE wrong (id int, gone int);
CREATE TRIGGER t BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION pgq_capture('wrong');
INSERT INTO wrong VALUES (1);
DROP TRIGGER t ON wrong;
CREATE TRIGGER t AFTER TRUNCATE ON wrong EXECUTE FUNCTION pgq_capture('wrong');
TRUNCATE wrong;
DROP TRIGGER t ON wrong;
CREATE TRIGGER t AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION pgq_capture();
INSERT INTO wrong VALUES (1);
DROP TRIGGER t ON wrong;
CREATE TRIGGER t AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION pgq_capture('');
INSERT INTO wrong VALUES (1);
DROP TRIGGER t ON wrong;
CREATE TRIGGER t AFTER INSERT ON wrong FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('wrong');
INSERT INTO wrong VALUES (1);
DROP TRIGGER t ON wrong;
CREATE TRIGGER t AFTER UPDATE ON wrong REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('wrong', 'id');
UPDATE wrong SET id = 2;
DROP TRIGGER t ON wrong;
CREATE TRIGGER t AFTER UPDATE ON wrong REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('wrong');
UPDATE wrong SET id = 2;
DROP TRIGGER t ON wrong;
CREATE TRIGGER t AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION pgq_capture('wrong', 'id', 'Id');
INSERT INTO wrong VALUES (1);
DROP TRIGGER t ON wrong;
CREATE TRIGGER t AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION pgq_capture('wrong', 'gone');
ALTER TABLE wrong DROP COLUMN gone;
INSERT INTO wrong VALUES (1);
DROP TRIGGER t ON wrong;
CREATE TRIGGER t AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION pgq_capture('wrong', 'ctid');
INSERT INTO wrong VALUES (1);
DROP TRIGGER t ON wrong;
CREATE VIEW wrong_view AS SELECT * FROM wrong;
CREATE TRIGGER t INSTEAD OF INSERT ON wrong_view FOR EACH ROW EXECUTE FUNCTION pgq_capture('wrong');
INSERT INTO wrong_view VALUES (1);
-- what a session has set changes nothing of a message
CREATE TABLE "Exact" (id int PRIMARY KEY, f float8, b bytea, i interval, t timestamptz, d daterange);
CREATE TRIGGER t AFTER INSERT OR UPDATE ON "Exact" FOR EACH ROW EXECUTE FUNCTION pgq_capture('exact');
SET extra_float_digits = 0; SET bytea_output = 'escape'; SET intervalstyle = 'sql_standard'; SET timezone = 'Asia/Tokyo'; SET datestyle = 'SQL, DMY';
SET quote_all_identifiers = on;
INSERT INTO "Exact" VALUES (1, 0.3, 'x', '1 day 2 h', '2026-01-01 00:00Z', '[2026-02-01,2026-02-03)');
UPDATE "Exact" SET f = 0.1::float8 + 0.2::float8;
RESET extra_float_digits; RESET bytea_output; RESET intervalstyle; RESET timezone; RESET datestyle; RESET quote_all_identifiers;
SELECT payload -> 'table' AS "table", payload -> 'new' AS new FROM pgq_pop('exact', max => 10);
DROP TABLE "Exact";
\set VERBOSITY default
CREATE TRIGGER t BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION pgq_capture('wrong', 'x');
INSERT INTO wrong VALUES (1);
SELECT count(*) FROM wrong;
SELECT count(*) FROM pgq_list_queues() WHERE queue = 'wrong';
DROP TABLE "We ""ird. tab'le", keyless, parted, bulk, loose, wrong CASCADE;
-- what jsonb cannot hold comes as its text, and nothing that the table takes is refused
CREATE TABLE odd (id int PRIMARY KEY, j json, js json[], n numeric, d date, t timestamptz);
CREATE TRIGGER r AFTER INSERT OR UPDATE OR DELETE ON odd FOR EACH ROW EXECUTE FUNCTION pgq_capture('odd');
CREATE TRIGGER i AFTER INSERT ON odd REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('odd');
CREATE TRIGGER u AFTER UPDATE ON odd REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('odd');
CREATE TRIGGER d AFTER DELETE ON odd REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('odd');
INSERT INTO odd (id, j) VALUES (1, '{"a": "\u0000"}'), (2, '{"a": 1}'), (3, '{"a": 1e999999}'), (4, '"\ud800"');
INSERT INTO odd VALUES (5, NULL, '{"\"\\u0000\"",1}', 'NaN', 'infinity', '-infinity');
UPDATE odd SET n = 'Infinity', j = '{"b": "\u0000"}' WHERE id = 1;
UPDATE odd SET n = n;
DELETE FROM odd WHERE id IN (1, 5);
SELECT payload - 'table' AS change, count(*) FROM pgq_pop('odd', max => 100) GROUP BY 1 ORDER BY min(id), payload - 'table';
DROP TABLE odd;
-- a cast to JSON that raises is no reason to refuse the row; one that is cancelled is
CREATE TYPE moody AS ENUM ('good', 'bad', 'slow');
CREATE FUNCTION moody_json(moody) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    IF $1 = 'bad' THEN RAISE 'not today'; END IF;
    IF $1 = 'slow' THEN PERFORM pg_sleep(100); END IF;
    RETURN '{"is": "good"}';
END $$;
CREATE CAST (moody AS json) WITH FUNCTION moody_json(moody);
CREATE TABLE moods (id int PRIMARY KEY, m moody);
CREATE TRIGGER i AFTER INSERT ON moods REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('moods');
INSERT INTO moods VALUES (1, 'good'), (2, 'bad');
SET statement_timeout = '200 ms';
INSERT INTO moods VALUES (3, 'slow');
RESET statement_timeout;
SELECT payload -> 'new' AS new FROM pgq_pop('moods', max => 100);
-- such a value is a key, too
INSERT INTO moods SELECT 4, 'bad';
CREATE TRIGGER u AFTER UPDATE ON moods REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('moods', 'm');
UPDATE moods SET id = id + 10 WHERE m = 'bad';
SELECT payload ->> 'op' AS op, payload -> 'key' AS key, payload #> '{new,id}' AS id FROM pgq_pop('moods', max => 100);
DROP TABLE moods;
DROP TYPE moody CASCADE;
-- a key that jsonb cannot hold, and keys that are equal however they are written
CREATE TABLE odd_key (j json, v int);
CREATE TRIGGER u AFTER UPDATE ON odd_key REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('odd keys', 'j');
INSERT INTO odd_key VALUES ('"\u0000"', 1), ('"a"', 1);
UPDATE odd_key SET v = 2;
SELECT * FROM changes('odd keys');
CREATE DOMAIN amount AS numeric;
CREATE TABLE same_key (a amount, f float8, b jsonb, c text COLLATE "C", v int);
CREATE TRIGGER u AFTER UPDATE ON same_key REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('same keys', 'a', 'f', 'b', 'c');
INSERT INTO same_key VALUES (1.0, 0, '{"n": 1.0}', NULL, 1), (2.0, 'NaN', '{"n": 2.0}', '', 2);
UPDATE same_key SET a = a::numeric(9,3), f = -f, b = jsonb_build_object('n', a::numeric(9,3));
SELECT payload ->> 'op' AS op, payload -> 'key' AS key FROM pgq_pop('same keys', max => 100);
DROP TABLE odd_key, same_key;
DROP DOMAIN amount;
-- no setting of the session shows in a value (nor a locale: tests/capture.rs)
CREATE TABLE cash (id int PRIMARY KEY, price money, d date, i interval, r regclass);
CREATE TRIGGER r AFTER INSERT OR UPDATE ON cash FOR EACH ROW EXECUTE FUNCTION pgq_capture('cash');
CREATE TRIGGER i AFTER INSERT ON cash REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('cash');
SET datestyle = 'German'; SET intervalstyle = 'iso_8601'; SET search_path = public, pgqueue;
INSERT INTO cash VALUES (1, 1234.50::numeric::money, '2026-02-01', '1 day', 'cash');
RESET datestyle; RESET intervalstyle; RESET search_path;
UPDATE cash SET id = id;
SELECT payload -> 'new' AS new, count(*) FROM pgq_pop('cash', max => 10) GROUP BY 1;
DROP TABLE cash;
-- MERGE, COPY and ON CONFLICT, by row and by statement
CREATE TABLE fed (id int PRIMARY KEY, v int, t int DEFAULT 0);
CREATE TRIGGER r AFTER INSERT OR UPDATE OR DELETE ON fed FOR EACH ROW EXECUTE FUNCTION pgq_capture('by row');
CREATE TRIGGER i AFTER INSERT ON fed REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('by statement');
CREATE TRIGGER u AFTER UPDATE ON fed REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('by statement');
CREATE TRIGGER d AFTER DELETE ON fed REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('by statement');
COPY fed (id, v) FROM stdin;
1	1
2	2
3	3
\.
MERGE INTO fed USING (VALUES (1, 10), (2, NULL), (4, 4)) AS s (id, v) ON s.id = fed.id
 WHEN MATCHED AND s.v IS NULL THEN DELETE
 WHEN MATCHED THEN UPDATE SET v = s.v
 WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
INSERT INTO fed VALUES (3, 0), (5, 5) ON CONFLICT (id) DO UPDATE SET v = 33;
INSERT INTO fed VALUES (3, 0) ON CONFLICT DO NOTHING;
WITH d AS (DELETE FROM fed WHERE id = 5 RETURNING v) UPDATE fed SET v = d.v FROM d WHERE fed.id = 4;
SELECT count(*), count(*) FILTER (WHERE queues = 2) AS in_both
  FROM (SELECT payload, count(*) AS queues FROM (SELECT payload FROM pgq_peek('by row', max => 100) UNION ALL SELECT payload FROM pgq_peek('by statement', max => 100)) m GROUP BY 1) p;
SELECT payload - 'table' AS change FROM pgq_pop('by row', max => 100);
DROP TABLE fed;
-- a row that goes to another partition: by row a delete and a create, by statement one update; what a
-- statement does to a partition by its own name fires triggers of the partition only
CREATE TABLE spread (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE spread_eu PARTITION OF spread FOR VALUES IN ('eu');
CREATE TABLE spread_us PARTITION OF spread FOR VALUES IN ('us');
CREATE TRIGGER r AFTER INSERT OR UPDATE OR DELETE ON spread FOR EACH ROW EXECUTE FUNCTION pgq_capture('spread by row', 'id');
CREATE TRIGGER i AFTER INSERT ON spread REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('spread', 'id');
CREATE TRIGGER u AFTER UPDATE ON spread REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('spread', 'id');
CREATE TRIGGER d AFTER DELETE ON spread REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('spread', 'id');
INSERT INTO spread VALUES (1, 'eu');
UPDATE spread SET region = 'us' WHERE id = 1;
DELETE FROM spread_us;
SELECT queue, payload - 'old' - 'new' AS change FROM (SELECT * FROM pgq_pop('spread by row', max => 9) UNION ALL SELECT * FROM pgq_pop('spread', max => 9)) m;
DROP TABLE spread;
-- the key of a table is looked up once, not for each row
CREATE TABLE many (id int PRIMARY KEY, name text);
CREATE TRIGGER r AFTER INSERT ON many FOR EACH ROW EXECUTE FUNCTION pgq_capture('many');
BEGIN;
SELECT pg_stat_get_xact_numscans('pg_constraint_conrelid_contypid_conname_index'::regclass) AS before \gset
INSERT INTO many SELECT n, n FROM generate_series(1, 1000) n;
SELECT pg_stat_get_xact_numscans('pg_constraint_conrelid_contypid_conname_index'::regclass) - :before < 10 AS seldom;
COMMIT;
SELECT count(*), count(DISTINCT payload -> 'key') FROM pgq_pop('many', max => 1000);
DROP TABLE many;
-- every value is what to_jsonb makes of it in UTC, and its key is found in the message
CREATE TYPE mood AS ENUM ('good', 'so''so');
CREATE DOMAIN hue AS mood;
CREATE DOMAIN short AS varchar(9) CHECK (VALUE <> '');
CREATE TYPE pair AS (a int, b timestamptz);
CREATE TABLE every (
    id int PRIMARY KEY, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric, n2 numeric(12,3), t text, v varchar, c char(5),
    ch "char", na name, by bytea, d date, ts timestamp, tz timestamptz, ti time, tiz timetz, iv interval, u uuid, ip inet, net cidr,
    mac macaddr, bi bit(5), vb varbit, o oid, j json, jb jsonb, mo money, m mood, h hue, s short, p pair, a int[], aa timestamptz[],
    r tstzrange, pt point, rc regclass, ts_long_name_that_is_sixty_three_bytes_long_and_that_is_really_it text, x xid, tv tsvector, never text);
CREATE TRIGGER r AFTER INSERT OR UPDATE OR DELETE ON every FOR EACH ROW EXECUTE FUNCTION pgq_capture('every row');
CREATE TRIGGER i AFTER INSERT ON every REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('every statement');
CREATE TRIGGER u AFTER UPDATE ON every REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('every statement');
CREATE TRIGGER d AFTER DELETE ON every REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('every statement');
CREATE TABLE plain (LIKE every INCLUDING INDEXES);
ALTER TABLE plain DROP COLUMN tiz, DROP COLUMN iv, DROP COLUMN j, DROP COLUMN mo, DROP COLUMN p, DROP COLUMN a, DROP COLUMN aa, DROP COLUMN r,
    DROP COLUMN pt, DROP COLUMN rc, DROP COLUMN tv;
CREATE TRIGGER r AFTER INSERT OR UPDATE OR DELETE ON plain FOR EACH ROW EXECUTE FUNCTION pgq_capture('plain row');
CREATE TRIGGER i AFTER INSERT ON plain REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pgq_capture('plain statement');
CREATE TABLE wanted (queue text, doc jsonb);
CREATE PROCEDURE every_row() LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO every (id) VALUES (0);
    INSERT INTO every VALUES
    (1, true, 32767, 9223372036854775807, 'NaN', 1.7976931348623157e308, 'NaN', 0, '', '', '', 'x', 'n', '', 'infinity', '-infinity', 'infinity',
     '24:00', '01:02:03.000004+05:30', '1 year -2 days 03:04:05.6', '00000000-0000-0000-0000-000000000001', '10.0.0.1/8', '10.0.0.0/8',
     '08:00:2b:01:02:03', '10101', '', 4294967295, '{"a": [1.0, null]}', '{}', 1234.5, 'so''so', 'good', 'é', '(1,2026-01-01 00:00Z)',
     '{1,NULL}', '{2026-01-01 00:00Z}', '[2026-01-01 00:00Z,infinity)', '(0.1,0.2)', 'pg_class', 'x', '7', 'a b:1', 'n'),
    (2, false, -32768, -9223372036854775808, '-0', 5e-324, 'Infinity', -0.001, repeat('é', 100), 'a"\ b', 'ab', '', '', '\x00ff', '4713-01-01 BC',
     '294276-12-31 23:59:59.999999', '4713-01-01 00:00:00Z BC', '00:00', '23:59:59-12', '-1 mon', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '::1', '::/0',
     'ff:ff:ff:ff:ff:ff', '00000', '1', 0, '[]', '[]', -0.5, 'good', NULL, 's', NULL, '{}', '{}', 'empty', '(-0,1e300)', NULL, '', '0', '', '');
    INSERT INTO every (id, i2, i8, f4, f8, n, n2, t, d, ts, tz, j, jb) VALUES
    (3, 0, 0, 'Infinity', 0.1::float8 + 0.2::float8, 0.00, 123456789.100, E'\t\n\u0001', '2024-02-29', '2026-01-01 00:00:00.1', '2026-07-01 12:00:00.123456+02', 'null', 'null'),
    (4, 100, 10000, 1e10, 1e21, 1e100, 100, NULL, '20000-01-01', '0001-01-01', '2026-01-01 00:00 -15:59', '"x"', '"x"'),
    (5, 9999, 100000000, 1e-10, -1.5, 1e-100, 0.010, NULL, NULL, NULL, '294276-12-31 23:59:59Z', '1.50', '1.50'),
    (6, -1, -10000, 16777216, 123456789012345678, -12345678901234567890123456789.000100, 1, NULL, NULL, NULL, NULL, 'true', 'false'),
    (7, 10, -9999, 0.1, 1, -0.0, 1, NULL, NULL, NULL, NULL, '{"k": {"deep": [1, {"er": 2.00}]}, "a": "b"}', '{"k": {"deep": [1, {"er": 2.00}]}, "a": "b"}');
END $$;
SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1;
\set VERBOSITY terse
CALL every_row();
INSERT INTO wanted SELECT 'every', to_jsonb(every) FROM every;
INSERT INTO plain SELECT id, b, i2, i8, f4, f8, n, n2, t, v, c, ch, na, by, d, ts, tz, ti, u, ip, net, mac, bi, vb, o, jb, m, h, s,
    ts_long_name_that_is_sixty_three_bytes_long_and_that_is_really_it, x, never FROM every;
INSERT INTO wanted SELECT 'plain', to_jsonb(plain) FROM plain;
-- the settings of a session show in no value
DELETE FROM every; DELETE FROM plain;
CREATE TABLE got AS
    SELECT queue, split_part(queue, ' ', 1) AS name, payload, payload -> 'new' AS doc FROM pgq_pop('every row', max => 99) WHERE payload ->> 'op' = 'create'
    UNION ALL SELECT queue, 'every', payload, payload -> 'new' FROM pgq_pop('every statement', max => 99) WHERE payload ->> 'op' = 'create'
    UNION ALL SELECT queue, 'plain', payload, payload -> 'new' FROM pgq_pop('plain row', max => 99) WHERE payload ->> 'op' = 'create'
    UNION ALL SELECT queue, 'plain', payload, payload -> 'new' FROM pgq_pop('plain statement', max => 99);
SELECT count(*) FILTER (WHERE wanted.doc::text = got.doc::text) AS equal, count(*) AS all, bool_and(jsonb_hash(payload::text::jsonb) = jsonb_hash(payload)) AS same_hash
  FROM got JOIN wanted ON wanted.queue = got.name AND wanted.doc -> 'id' = got.doc -> 'id';
SELECT count(*) FILTER (WHERE got.doc -> key IS DISTINCT FROM value) AS wrong, count(*) AS all
  FROM got JOIN wanted ON wanted.queue = got.name AND wanted.doc -> 'id' = got.doc -> 'id', jsonb_each(wanted.doc);
SELECT got.doc ->> 'id' AS id, key, got.doc -> key AS got, value AS wanted
  FROM got JOIN wanted ON wanted.queue = got.name AND wanted.doc -> 'id' = got.doc -> 'id', jsonb_each(wanted.doc)
 WHERE (got.doc -> key)::text IS DISTINCT FROM value::text;
SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = -3; SET bytea_output = 'escape';
CALL every_row();
INSERT INTO plain SELECT id, b, i2, i8, f4, f8, n, n2, t, v, c, ch, na, by, d, ts, tz, ti, u, ip, net, mac, bi, vb, o, jb, m, h, s,
    ts_long_name_that_is_sixty_three_bytes_long_and_that_is_really_it, x, never FROM every;
RESET timezone; RESET datestyle; RESET intervalstyle; RESET extra_float_digits; RESET bytea_output;
SELECT m.queue, count(*) FILTER (WHERE wanted.doc::text = (payload -> 'new')::text) AS equal, count(*) AS all
  FROM (SELECT * FROM pgq_peek('every row', max => 99) UNION ALL SELECT * FROM pgq_peek('every statement', max => 99)
        UNION ALL SELECT * FROM pgq_peek('plain row', max => 99) UNION ALL SELECT * FROM pgq_peek('plain statement', max => 99)) m
  JOIN wanted ON wanted.queue = split_part(m.queue, ' ', 1) AND wanted.doc -> 'id' = payload -> 'new' -> 'id' WHERE payload ->> 'op' = 'create' GROUP BY 1 ORDER BY 1;
-- a cast that is made later is used for the next row
CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE sql AS $$ SELECT '{"a": "mood"}'::json $$;
CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood);
SELECT count(pgq_purge(queue)) FROM pgq_list_queues() WHERE queue IN ('every row', 'plain row');
UPDATE plain SET m = 'good' WHERE id = 0;
DROP CAST (mood AS json);
UPDATE plain SET m = 'so''so' WHERE id = 0;
SELECT payload #> '{old,m}' AS old, payload #> '{new,m}' AS new FROM pgq_pop('plain row', max => 9);
\set VERBOSITY default
DROP TABLE every, plain, wanted, got;
DROP PROCEDURE every_row;
DROP DOMAIN hue, short;
DROP TYPE mood, pair CASCADE;
-- what a session remembers of a table follows the table
CREATE SCHEMA regress_before;
CREATE TABLE regress_before.shifting (id int, v text, w int);
CREATE TRIGGER r AFTER INSERT ON regress_before.shifting FOR EACH ROW EXECUTE FUNCTION pgq_capture('shifting');
INSERT INTO regress_before.shifting VALUES (1, 'a', 1);
ALTER TABLE regress_before.shifting RENAME TO shifted;
INSERT INTO regress_before.shifted VALUES (2, '"a"', 1);
ALTER SCHEMA regress_before RENAME TO regress_after;
INSERT INTO regress_after.shifted VALUES (3, '"a"', 1);
ALTER TABLE regress_after.shifted ADD PRIMARY KEY (id);
INSERT INTO regress_after.shifted VALUES (4, '"a"', 1);
BEGIN;
ALTER TABLE regress_after.shifted RENAME COLUMN id TO number;
INSERT INTO regress_after.shifted VALUES (5, '"a"', 1);
SAVEPOINT s;
ALTER TABLE regress_after.shifted DROP COLUMN v;
INSERT INTO regress_after.shifted VALUES (6, 1);
ROLLBACK TO s;
INSERT INTO regress_after.shifted VALUES (7, '"a"', 1);
COMMIT;
ALTER TABLE regress_after.shifted ALTER COLUMN v TYPE text USING '"b"';
ALTER TABLE regress_after.shifted ALTER COLUMN v TYPE jsonb USING v::jsonb, ADD COLUMN x int DEFAULT 8;
INSERT INTO regress_after.shifted VALUES (8, '{"b": 1}', 1);
ALTER TABLE regress_after.shifted SET SCHEMA public;
INSERT INTO shifted VALUES (9, '1', 1);
SELECT * FROM changes('shifting');
DROP TABLE shifted;
DROP SCHEMA regress_after;
DROP FUNCTION changes;
