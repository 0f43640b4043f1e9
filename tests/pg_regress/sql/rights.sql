-- Members of a queue's owner may do everything with it, others nothing.
CREATE ROLE regress_team;
CREATE ROLE regress_member IN ROLE regress_team;
CREATE ROLE regress_stranger;
SET ROLE regress_team;
SELECT pgq_push('team', '"secret"') AS id \gset
SELECT queue, owner FROM pgq_list_queues();
SELECT queue, total FROM pgq_stats();
RESET ROLE;
SET ROLE regress_member;
SELECT pgq_count('team');
SELECT queue, ready FROM pgq_stats();
SELECT payload FROM pgq_reserve('team');
SELECT pgq_release(:id, delivery => 1);
RESET ROLE;
SET ROLE regress_stranger;
\set VERBOSITY sqlstate
SELECT pgq_push('team', '1');
SELECT pgq_reserve('team');
SELECT pgq_pop('team');
SELECT pgq_next('team', NULL);
SELECT pgq_peek('team');
SELECT pgq_count('team');
SELECT pgq_stats('team');
SELECT pgq_dump_dead('team');
SELECT pgq_peek_dead('team');
SELECT pgq_redrive('team');
SELECT pgq_purge('team');
SELECT pgq_pause('team');
SELECT pgq_alter_queue('team', '{}');
SELECT pgq_drop_queue('team');
CALL pgq_wait('team', '1 ms');
-- guessed ids are not there
SELECT pgq_delete(:id), pgq_release(:id), pgq_bury(:id, 'x');
SELECT (SELECT count(*) FROM pgq_extend(:id, '1 s')), (SELECT count(*) FROM pgq_fail(:id, 'x')), (SELECT count(*) FROM pgq_get(:id));
SELECT count(*) FROM pgq_list_queues();
SELECT count(*) FROM pgq_stats();
-- the tables are closed
SELECT * FROM pgqueue.message;
SELECT * FROM pgqueue.queue;
DELETE FROM pgqueue.dead;
SELECT nextval('pgqueue.message_id');
SELECT * FROM pgq_vacuum_stats;
SELECT * FROM pgq_vacuum();
\set VERBOSITY default
-- their own queues are theirs, whatever the search path holds
CREATE TEMP TABLE message (id int, queue int);
CREATE TEMP TABLE queue (id int, name text);
CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
CREATE FUNCTION pg_temp.evil(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.evil);
SET search_path = pg_temp, public, pg_catalog;
SELECT pgq_push('own', '1') AS own \gset
SELECT payload FROM pgq_reserve('own');
SELECT outcome FROM pgq_fail(:own, 'x', delay => '0');
SELECT ready FROM pgq_stats('own');
SELECT pgq_bury(:own, 'x');
SELECT payload FROM pgq_dump_dead('own');
SELECT current_user, current_setting('search_path');
RESET search_path;
RESET ROLE;
SELECT state, delivery FROM pgq_get(:id);
SELECT pgq_drop_queue('own'), pgq_drop_queue('team');
-- a role is named exactly as pg_roles has it; public is every role, and no other name is
CREATE ROLE "Regress Boss";
CREATE ROLE "regress boss";
SELECT pgq_create_queue('named');
SELECT pgq_grant('named', 'Regress Boss', 'push'), pgq_grant('named', 'public', 'consume'), pgq_grant('named', current_user, 'monitor');
SELECT queue, replace(role, current_user, 'caller') AS role, privilege FROM pgq_list_grants() ORDER BY privilege;
\set VERBOSITY terse
SELECT pgq_grant('named', '"Regress Boss"', 'push');
SELECT pgq_grant('named', 'REGRESS BOSS', 'push');
SELECT pgq_grant('named', 'PUBLIC', 'push');
SELECT pgq_grant('named', '-', 'push');
SELECT pgq_grant('named', '', 'push');
SELECT pgq_grant('named', repeat('r', 100), 'push');
SELECT pgq_grant('named', repeat('r', 513), 'push');
SELECT pgq_grant('named', '10', 'push');
SELECT pgq_grant('named', '"Regress Boss"'::regrole, 'push');
SELECT pgq_revoke('named', 'gone', 'push');
SELECT pgq_grant('named', NULL, 'push');
SELECT pgq_set_owner('named', 'public');
SELECT pgq_set_owner('named', NULL);
SELECT pgq_reassign_owned('public', current_user);
SELECT pgq_reassign_owned(current_user, 'Regress');
CREATE ROLE public;
CREATE ROLE "public";
ALTER ROLE "regress boss" RENAME TO public;
\set VERBOSITY default
SELECT pgq_set_owner('named', 'Regress Boss');
SELECT owner FROM pgq_list_queues() WHERE queue = 'named';
SELECT pgq_reassign_owned('Regress Boss', 'regress boss'), pgq_reassign_owned('Regress Boss', 'regress boss') AS again;
SELECT owner FROM pgq_list_queues() WHERE queue = 'named';
SELECT pgq_revoke('named', 'Regress Boss', 'push'), pgq_revoke('named', 'public', 'consume'), pgq_revoke('named', 'public', 'consume') AS again;
SELECT pgq_drop_queue('named');
DROP ROLE "Regress Boss", "regress boss";
-- a queue whose owner is gone is left to superusers
SET ROLE regress_stranger;
SELECT pgq_create_queue('left behind');
RESET ROLE;
DROP OWNED BY regress_stranger;
DROP ROLE regress_stranger, regress_member, regress_team;
SELECT pgq_push('left behind', '1') IS NOT NULL AS pushed;
SELECT pgq_drop_queue('left behind');
