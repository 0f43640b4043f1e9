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
SELECT count(*) FROM pgq_list_queues() WHERE name = 'wrong';
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
DROP FUNCTION changes;
