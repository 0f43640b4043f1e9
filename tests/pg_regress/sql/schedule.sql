-- Schedules: pushed when their time comes, here by a round by hand.
SET timezone = 'UTC';
SELECT pgq_schedule('every five', 'ticks', '*/5 * * * *', '{"n": 1.00}') - date_trunc('minute', now()) BETWEEN '1 s' AND '6 min' AS soon;
SELECT to_char(pgq_schedule('nightly', 'ticks', '30 2 * * *', '2', time_zone => 'America/New_York') AT TIME ZONE 'America/New_York', 'HH24:MI') AS local;
SELECT extract(minute FROM pgq_schedule('hourly', 'ticks', '@hourly', '3')) AS minute;
SELECT round(extract(epoch FROM pgq_schedule('often', 'ticks', '15 min', '4', headers => '{"h": 1}', priority => 7, ttl => '1 h', lease => '2 h', max_deliveries => 2) - clock_timestamp())) AS seconds;
SELECT name, queue, every, time_zone, payload, headers, priority, last_run, last_error, owner = current_user AS own FROM pgq_list_schedules();
-- nothing is due yet
SELECT count(*) FROM pgq_vacuum();
SELECT pgq_count('ticks');
-- what was missed many times runs once, and keeps its grid
UPDATE pgqueue.schedule SET next_run = next_run - '100 days 7 min'::interval WHERE name IN ('often', 'every five');
SELECT next_run AS planned FROM pgq_list_schedules() WHERE name = 'often' \gset
SELECT count(*) FROM pgq_vacuum();
SELECT payload, headers, priority, leased_until > clock_timestamp() + '1 h'::interval AS long FROM pgq_reserve('ticks', max => 10);
SELECT m.max_deliveries, m.expires_at - m.enqueued_at AS ttl FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue WHERE q.name = 'ticks' AND m.priority = 7;
SELECT name, next_run > clock_timestamp() AS later, next_run < clock_timestamp() + '15 min' AS soon, last_run IS NOT NULL AS ran, last_error
  FROM pgq_list_schedules() WHERE name IN ('often', 'every five');
SELECT mod(extract(epoch FROM next_run - :'planned'::timestamptz)::numeric, 900) AS off_grid FROM pgq_list_schedules() WHERE name = 'often';
SELECT count(*) FROM pgq_vacuum();
SELECT pgq_count('ticks');
-- putting one again with its times goes on with them; with others it begins anew
SELECT next_run AS planned FROM pgq_list_schedules() WHERE name = 'often' \gset
SELECT pgq_schedule('often', 'ticks', '15 min', '"again"') = :'planned' AS kept;
SELECT payload, headers, priority, last_run IS NOT NULL AS ran FROM pgq_list_schedules() WHERE name = 'often';
SELECT pgq_schedule('often', 'ticks', '16 min', '"other"') = :'planned' AS kept;
SELECT last_run FROM pgq_list_schedules() WHERE name = 'often';
-- a rollback takes it back, and what a round by hand has pushed too
BEGIN;
SELECT pgq_unschedule('often'), pgq_schedule('rolled back', 'ticks', '1 s', '1') IS NOT NULL;
ROLLBACK;
BEGIN;
UPDATE pgqueue.schedule SET next_run = now() WHERE name = 'often';
SELECT count(*) FROM pgq_vacuum();
SELECT pgq_count('ticks');
ROLLBACK;
SELECT count(*) FROM pgq_list_schedules() WHERE name IN ('often', 'rolled back');
SELECT pgq_count('ticks');
-- a queue that is gone is noted, others go on, and the next time tries again
SELECT pgq_schedule('fails', 'gone', '1 h', '1') IS NOT NULL AS put;
SELECT pgq_drop_queue('gone');
UPDATE pgqueue.schedule SET next_run = now() - '1 s'::interval WHERE name IN ('fails', 'often');
SELECT errors FROM pgq_vacuum();
SELECT name, next_run > now() AS later, last_error FROM pgq_list_schedules() WHERE name IN ('fails', 'often') ORDER BY name;
SELECT payload FROM pgq_pop('ticks', max => 10);
SELECT pgq_create_queue('gone');
UPDATE pgqueue.schedule SET next_run = now() WHERE name = 'fails';
SELECT count(*) FROM pgq_vacuum();
SELECT last_error FROM pgq_list_schedules() WHERE name = 'fails';
SELECT pgq_count('gone');
-- so is a time that can't be told any more: it is tried again in a minute
UPDATE pgqueue.schedule SET next_run = now(), time_zone = 'Mars/Olympus' WHERE name = 'fails';
SELECT count(*) FROM pgq_vacuum();
SELECT next_run - last_run < '1 min' AS soon, last_error FROM pgq_list_schedules() WHERE name = 'fails';
SELECT pgq_count('gone');
-- removing
SELECT pgq_unschedule('fails'), pgq_unschedule('fails'), pgq_unschedule('never was');
-- rights: a schedule is its owner's and its queue's
CREATE ROLE regress_scheduler;
CREATE ROLE regress_onlooker;
SET ROLE regress_scheduler;
SELECT pgq_schedule('own', 'scheduled', '1 h', '"own"') IS NOT NULL AS put;
SELECT name, owner FROM pgq_list_schedules();
RESET ROLE;
SET ROLE regress_onlooker;
SELECT count(*) FROM pgq_list_schedules();
\set VERBOSITY sqlstate
SELECT pgq_unschedule('own');
SELECT pgq_schedule('own', 'mine', '1 h', '1');
SELECT pgq_schedule('new', 'scheduled', '1 h', '1');
SELECT * FROM pgqueue.schedule;
\set VERBOSITY default
RESET ROLE;
SELECT name, queue, owner FROM pgq_list_schedules() WHERE name IN ('own', 'new');
-- it pushes with its owner's rights: not into a queue that is another's by now
SELECT pgq_drop_queue('scheduled');
SET ROLE regress_onlooker;
SELECT pgq_create_queue('scheduled');
SELECT name, payload FROM pgq_list_schedules();
RESET ROLE;
UPDATE pgqueue.schedule SET next_run = now() WHERE name = 'own';
SELECT count(*) FROM pgq_vacuum();
SELECT last_error FROM pgq_list_schedules() WHERE name = 'own';
SET ROLE regress_scheduler;
SELECT name FROM pgq_list_schedules();
RESET ROLE;
-- an owner that is gone: a round notes that, the next tries its schedules
DROP ROLE regress_scheduler;
UPDATE pgqueue.schedule SET next_run = now() WHERE name = 'own';
SELECT count(*) FROM pgq_vacuum();
SELECT count(*) FROM pgq_vacuum();
SELECT last_error FROM pgq_list_schedules() WHERE name = 'own';
SET ROLE regress_onlooker;
SELECT pgq_count('scheduled'), pgq_unschedule('own');
RESET ROLE;
SELECT pgq_drop_queue('scheduled');
DROP ROLE regress_onlooker;
-- mistakes
\set VERBOSITY sqlstate
SELECT pgq_schedule(NULL, 'ticks', '1 h', '1');
SELECT pgq_schedule('s', NULL, '1 h', '1');
SELECT pgq_schedule('s', 'ticks', NULL, '1');
SELECT pgq_schedule('s', 'ticks', '1 h', NULL);
SELECT pgq_schedule('s', 'ticks', '1 h', '1', time_zone => NULL);
SELECT pgq_schedule('', 'ticks', '1 h', '1');
SELECT pgq_schedule('s', 'ticks', 'often', '1');
SELECT pgq_schedule('s', 'ticks', '999 ms', '1');
SELECT pgq_schedule('s', 'ticks', '61 * * * *', '1');
SELECT pgq_schedule('s', 'ticks', '0 0 30 2 *', '1');
SELECT pgq_schedule('s', 'ticks', '1 h', '1', time_zone => 'Mars/Olympus');
SELECT pgq_schedule('s', 'ticks', '1 h', '1', priority => 40000);
SELECT pgq_schedule('s', 'ticks', '1 h', '1', ttl => '0');
SELECT pgq_schedule('s', 'ticks', '1 h', '1', max_deliveries => -1);
SELECT pgq_schedule('s', 'ticks', '1 h', '1', on_duplicate => 'explode');
SELECT pgq_schedule(repeat('x', 513), 'ticks', '1 h', '1');
SELECT pgq_unschedule(NULL);
BEGIN READ ONLY;
SELECT pgq_schedule('s', 'ticks', '1 h', '1');
ROLLBACK;
BEGIN READ ONLY;
SELECT pgq_unschedule('often');
ROLLBACK;
SET pgqueue.auto_create = off;
SELECT pgq_schedule('s', 'never made', '1 h', '1');
RESET pgqueue.auto_create;
\set VERBOSITY default
SELECT pgq_schedule('s', 'ticks', '* * * *', '1');
SELECT pgq_schedule('s', 'ticks', '1 h', '1', time_zone => 'Mars/Olympus');
SELECT count(*) FROM pgq_list_schedules() WHERE name = 's';
SELECT count(pgq_unschedule(name)) FROM pgq_list_schedules();
