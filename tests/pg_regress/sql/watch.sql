-- Watches: what a query gives is compared with what it gave before.
CREATE FUNCTION due(watch text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    whose text := (SELECT owner FROM pgq_list_watches() WHERE name = watch);
BEGIN
    UPDATE pgqueue.schedule SET next_run = clock_timestamp() WHERE name = watch;
    PERFORM set_config('role', whose, true), pgq_vacuum(), set_config('role', 'none', true);
    RETURN (SELECT last_error FROM pgq_list_watches() WHERE name = watch);
END $$;
CREATE FUNCTION changes(q text) RETURNS SETOF jsonb LANGUAGE sql AS $$ SELECT payload FROM pgq_pop(q, max => 1000) $$;
CREATE TABLE part (id int, name text);
INSERT INTO part VALUES (1, 'one'), (2, 'two'), (10, 'ten');
SELECT round(extract(epoch FROM pgq_watch('parts', 'parts', 'SELECT id, md5(name) FROM part', '1 h') - clock_timestamp())) AS seconds;
SELECT name, queue, query, every, time_zone, page_size, last_run, last_error, owner = current_user AS own FROM pgq_list_watches();
SELECT count(*) FROM pgq_list_schedules();
SELECT due('parts');
SELECT * FROM changes('parts');
-- nothing new, then everything at once
SELECT due('parts');
SELECT * FROM changes('parts');
INSERT INTO part VALUES (3, 'three');
UPDATE part SET name = 'TWO' WHERE id = 2;
DELETE FROM part WHERE id = 1;
SELECT due('parts');
SELECT * FROM changes('parts');
SELECT next_run > clock_timestamp() + '59 min'::interval AS later, last_run IS NOT NULL AS ran FROM pgq_list_watches();
-- what is pushed and what is remembered go together
BEGIN;
DELETE FROM part;
SELECT due('parts');
SELECT count(*) FROM changes('parts');
ROLLBACK;
SELECT due('parts');
SELECT * FROM changes('parts');
-- max at a time, by object_id, all of them in one round; the query runs once for them
CREATE FUNCTION runs() RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN RAISE NOTICE 'the query runs'; RETURN true; END $$;
SELECT pgq_watch('pages', 'pages', 'SELECT n, n FROM generate_series(1, 25) n WHERE (SELECT runs())', '1 h', page_size => 10) IS NOT NULL AS put;
SELECT due('pages');
SELECT count(*), array_agg(payload ->> 'object_id' ORDER BY n) = array_agg(n::text ORDER BY n::text COLLATE "C") AS in_order
  FROM (SELECT payload, row_number() OVER (ORDER BY id) AS n FROM pgq_pop('pages', max => 100)) m;
SELECT due('pages');
SELECT pgq_count('pages');
-- a round by hand ends after fifty parts, and the next goes on there
SELECT pgq_watch('many', 'pages', 'SELECT n, clock_timestamp() FROM generate_series(1, 60) n WHERE (SELECT runs())', '1 h', page_size => 1) IS NOT NULL AS put;
SELECT due('many');
SELECT count(*), max(payload ->> 'object_id') FROM pgq_pop('pages', max => 100);
SELECT count(*) FROM pgq_vacuum();
SELECT count(*), min(payload ->> 'object_id') FROM pgq_pop('pages', max => 100);
SELECT count(*) FROM pgq_vacuum();
SELECT pgq_count('pages'), pgq_unwatch('many');
-- each object once a run, and the run's time is kept
SELECT pgq_watch('moves', 'moves', 'SELECT n, CASE WHEN n < 3 THEN clock_timestamp()::text ELSE ''x'' END FROM generate_series(1, 4) n', '20 s', page_size => 2) AS first \gset
UPDATE pgqueue.schedule SET next_run = next_run - '1 min'::interval WHERE name = 'moves';
SELECT count(*) FROM pgq_vacuum();
SELECT payload ->> 'object_id' AS id FROM pgq_pop('moves', max => 100);
SELECT count(*) FROM pgq_vacuum();
SELECT pgq_count('moves'), mod(extract(epoch FROM next_run - :'first'), 20) = 0 AS on_grid, next_run > now() AS later FROM pgq_list_watches() WHERE name = 'moves';
UPDATE pgqueue.schedule SET next_run = now() WHERE name = 'moves';
SELECT count(*) FROM pgq_vacuum();
SELECT payload ->> 'object_id' AS id FROM pgq_pop('moves', max => 100);
-- objects that are gone, changed and new, more than max of each
SELECT pgq_watch('moves', 'moves', 'SELECT n, n % 4 FROM generate_series(3, 8) n', '20 s', page_size => 2) IS NOT NULL AS put;
SELECT due('moves');
SELECT payload - 'watch' - CASE payload ->> 'op' WHEN 'delete' THEN 'old_hash' ELSE '' END AS change FROM pgq_pop('moves', max => 100);
SELECT due('moves');
SELECT pgq_count('moves'), pgq_unwatch('moves');
-- one that fails goes on where it was
SELECT pgq_create_queue('narrow', '{"max_length": 2}');
SELECT pgq_watch('moves', 'narrow', 'SELECT n, CASE WHEN n < 3 THEN clock_timestamp()::text ELSE ''x'' END FROM generate_series(1, 4) n', '20 s', page_size => 2) IS NOT NULL AS put;
SELECT due('moves');
SELECT payload ->> 'object_id' AS id FROM pgq_pop('narrow', max => 100);
SELECT due('moves');
SELECT payload ->> 'object_id' AS id FROM pgq_pop('narrow', max => 100);
SELECT pgq_unwatch('moves');
-- put again it goes on with what it has seen; removed it forgets
SELECT pgq_watch('pages', 'pages', 'SELECT n, n FROM generate_series(1, 26) n', '1 h') IS NOT NULL AS put;
SELECT due('pages');
SELECT * FROM changes('pages');
SELECT pgq_unwatch('pages'), pgq_unwatch('pages');
SELECT count(*) FROM pgqueue.watch_seen WHERE watch = 'pages';
-- any types; names are found where they were when the watch was put
CREATE SCHEMA regress_watch;
CREATE TABLE regress_watch.part (id uuid, version numeric);
INSERT INTO regress_watch.part VALUES ('00000000-0000-0000-0000-000000000001', 1.50);
SET search_path = regress_watch, public;
SELECT pgq_watch('typed', 'typed', 'TABLE part', '@daily', time_zone => 'Asia/Tokyo') IS NOT NULL AS put;
RESET search_path;
SELECT due('typed');
SELECT * FROM changes('typed');
SHOW search_path;
-- what goes wrong is noted, and the others go on
SELECT pgq_watch('null', 'wrong', 'SELECT NULL, 1', '1 h'), pgq_watch('no hash', 'wrong', 'SELECT 7, NULL', '1 h'),
       pgq_watch('twice', 'wrong', 'SELECT 7, n FROM generate_series(1, 2) n', '1 h'), pgq_watch('fails', 'wrong', 'SELECT 1, 1 / count(*) FROM part WHERE id = 0', '1 h') \gset
UPDATE pgqueue.schedule SET next_run = now() WHERE query IS NOT NULL;
INSERT INTO part VALUES (4, 'four');
SELECT errors FROM pgq_vacuum();
SELECT name, last_error, next_run > now() AS later FROM pgq_list_watches() ORDER BY name;
SELECT * FROM changes('parts');
ALTER TABLE regress_watch.part ADD COLUMN more int;
SELECT due('typed');
SELECT pgq_unwatch('typed');
DROP SCHEMA regress_watch CASCADE;
-- a query can't write, by whatever way
CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM part; RETURN 1; END $$;
CREATE SEQUENCE counts;
SELECT pgq_watch('function', 'wrong', 'SELECT 1, writes()', '1 h'), pgq_watch('sequence', 'wrong', 'SELECT 1, nextval(''counts'')', '1 h'),
       pgq_watch('pushes', 'wrong', 'SELECT 1, pgq_push(''wrong'', ''1'')', '1 h') \gset
SELECT due('function'), due('sequence'), due('pushes');
SELECT count(*) FROM part;
-- and this session still can
INSERT INTO part VALUES (5, 'five');
SELECT pgq_count('wrong');
-- rights: a watch runs as who put it
CREATE ROLE regress_watcher;
CREATE ROLE regress_looker;
GRANT SELECT ON part TO regress_looker;
SET ROLE regress_watcher;
SELECT pgq_watch('secrets', 'secrets', 'SELECT id, name FROM part', '1 h') IS NOT NULL AS put;
SELECT pgq_watch('who', 'secrets', 'SELECT current_user, current_setting(''search_path'')', '1 h') IS NOT NULL AS put;
RESET ROLE;
-- in a round by hand, if it is his
UPDATE pgqueue.schedule SET next_run = clock_timestamp() WHERE name = 'who';
SELECT errors FROM pgq_vacuum();
SELECT last_run FROM pgq_list_watches() WHERE name = 'who';
GRANT EXECUTE ON FUNCTION pgq_vacuum() TO regress_watcher;
SELECT due('secrets'), due('who');
SELECT payload FROM pgq_pop('secrets', max => 10);
SET ROLE regress_looker;
SELECT count(*) FROM pgq_list_watches();
\set VERBOSITY sqlstate
SELECT pgq_unwatch('secrets');
SELECT pgq_watch('secrets', 'looked', 'SELECT id, name FROM part', '1 h');
SELECT pgq_watch('new', 'secrets', 'SELECT id, name FROM part', '1 h');
SELECT * FROM pgqueue.watch_seen;
RESET ROLE;
-- nor does it become somebody else
SET ROLE regress_watcher;
SELECT pgq_watch('who', 'secrets', 'SELECT 1, set_config(''role'', ''none'', false)', '1 h') IS NOT NULL AS put;
RESET ROLE;
SELECT due('who');
SELECT pgq_unwatch('who'), pgq_unwatch('secrets'), pgq_drop_queue('secrets');
DROP OWNED BY regress_looker, regress_watcher;
DROP ROLE regress_watcher, regress_looker;
-- mistakes
SELECT pgq_watch(NULL, 'q', 'SELECT 1, 2', '1 h');
SELECT pgq_watch('w', 'q', NULL, '1 h');
SELECT pgq_watch('w', 'q', 'SELECT 1, 2', NULL);
SELECT pgq_watch('w', 'q', 'SELECT 1, 2', 'often');
SELECT pgq_watch('w', 'q', 'SELECT 1, 2', '1 h', page_size => 0);
SELECT pgq_watch('w', 'q', '', '1 h');
SELECT pgq_watch('w', 'q', 'SELEKT 1', '1 h');
SELECT pgq_watch('w', 'q', 'SELECT 1 FROM nowhere', '1 h');
SELECT pgq_watch('w', 'q', 'SELECT 1', '1 h');
SELECT pgq_watch('w', 'q', 'SELECT 1, 2, 3', '1 h');
SELECT pgq_watch('w', 'q', 'SELECT 1, 2; SELECT 3, 4', '1 h');
SELECT pgq_watch('w', 'q', 'SELECT 1, 2; DELETE FROM part', '1 h');
SELECT pgq_watch('w', 'q', 'DELETE FROM part RETURNING id, name', '1 h');
SELECT pgq_watch('w', 'q', 'WITH d AS (DELETE FROM part RETURNING id, name) SELECT * FROM d', '1 h');
SELECT pgq_watch('w', 'q', 'SELECT id, name FROM part FOR UPDATE', '1 h');
SELECT pgq_watch('w', 'q', 'SELECT id, name INTO other FROM part', '1 h');
SELECT pgq_watch('w', 'q', 'EXPLAIN SELECT 1, 2', '1 h');
SELECT pgq_watch('w', 'q', 'SELECT $1, 2', '1 h');
SELECT pgq_schedule('parts', 'q', '1 h', '1');
SELECT pgq_unschedule('parts');
SELECT pgq_schedule('tick', 'parts', '1 h', '1') IS NOT NULL AS put;
SELECT pgq_watch('tick', 'parts', 'SELECT 1, 2', '1 h');
SELECT pgq_unwatch('tick');
BEGIN READ ONLY;
SELECT pgq_watch('w', 'q', 'SELECT 1, 2', '1 h');
ROLLBACK;
BEGIN READ ONLY;
SELECT pgq_unwatch('parts');
ROLLBACK;
\set VERBOSITY default
SELECT pgq_watch('w', 'q', 'SELECT 1', '1 h');
SELECT pgq_watch('w', 'q', 'SELECT 1, 2; SELECT 3, 4', '1 h');
SELECT pgq_unschedule('parts');
SELECT count(*) FROM pgq_list_watches() WHERE name = 'w';
SELECT count(pgq_unschedule(name)) FROM pgq_list_schedules();
SELECT count(pgq_unwatch(name)) FROM pgq_list_watches();
DROP TABLE part;
DROP FUNCTION due, changes, writes, runs;
DROP SEQUENCE counts;
