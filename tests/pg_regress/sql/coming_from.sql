-- What docs/coming-from.md promises and no other file shows.
-- results: a table of one's own, written in the transaction that deletes
CREATE TABLE result (task bigint PRIMARY KEY, value jsonb);
SELECT pgq_push('tasks', '1') AS id \gset
SELECT delivery FROM pgq_reserve('tasks') \gset
WITH done AS (INSERT INTO result VALUES (:id, '"sent"') RETURNING task) SELECT pgq_delete(task, :delivery) FROM done;
SELECT value, (SELECT total FROM pgq_stats('tasks')) AS left FROM result WHERE task = :id;
-- whose receipt is outdated is told so, and takes its result back
SELECT pgq_push('tasks', '2') AS id \gset
SELECT delivery FROM pgq_reserve('tasks') \gset
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE id = :id;
SELECT delivery AS other FROM pgq_reserve('tasks') \gset
BEGIN;
WITH done AS (INSERT INTO result VALUES (:id, '"late"') RETURNING task) SELECT pgq_delete(task, :delivery) FROM done;
ROLLBACK;
WITH done AS (INSERT INTO result VALUES (:id, '"sent"') RETURNING task) SELECT pgq_delete(task, :other) FROM done;
SELECT value FROM result WHERE task = :id;
DROP TABLE result;
-- the states of a task, one after the other
SELECT pgq_create_queue('states', '{"archive": "1 day"}');
SELECT pgq_push('states', '1', delay => '1 h', group_key => 'a') AS id \gset
SELECT pgq_push('states', '2', group_key => 'a') AS behind \gset
SELECT state, (SELECT state FROM pgq_get(:behind)) AS behind FROM pgq_get(:id);
SELECT pgq_update(:id, deliver_at => now());
SELECT state FROM pgq_get(:id);
SELECT delivery FROM pgq_reserve('states') \gset
SELECT state FROM pgq_get(:id);
SELECT outcome FROM pgq_fail(:id, 'said 451', :delivery, '0');
SELECT errors -> -1 ->> 'error' AS last_attempt FROM pgq_get(:id);
SELECT delivery FROM pgq_reserve('states') \gset
SELECT pgq_delete(:id, :delivery);
SELECT state, settled_at IS NOT NULL AS settled, (SELECT state FROM pgq_get(:behind)) AS behind FROM pgq_get(:id);
SELECT pgq_bury(:behind, 'no');
SELECT state, reason FROM pgq_get(:behind);
-- until there are n messages: wait for them, take as many
SELECT count(*) FROM pgq_push_batch('many', ARRAY['1', '2']::jsonb[]);
CALL pgq_wait('many', '10 ms', min => 3);
SELECT pgq_push('many', '3') IS NOT NULL AS pushed;
CALL pgq_wait('many', '30 s', min => 3);
SELECT payload FROM pgq_reserve('many', max => 3);
-- clients as groups of one queue: each reserves its own, several at once
SELECT pgq_create_queue('clients', '{"groups": "parallel"}');
SELECT count(*) FROM pgq_push_batch('clients', ARRAY['"a1"', '"a2"']::jsonb[], group_key => 'a');
SELECT pgq_push('clients', '"b1"', group_key => 'b') IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('clients', max => 9, group_key => 'b');
SELECT payload FROM pgq_reserve('clients', max => 9, group_key => 'a');
-- what ran out of time goes back, what failed does not
SELECT pgq_create_queue('reload', '{"on_timeout": "dead"}');
SELECT count(*) FROM pgq_push_batch('reload', ARRAY['"late"', '"failed"']::jsonb[]);
SELECT pgq_bury(id, 'no', delivery) FROM pgq_reserve('reload', max => 2) WHERE payload = '"failed"';
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE lease_until > now() AND payload = '"late"';
SELECT payload FROM pgq_reserve('reload');
SELECT pgq_redrive('reload', reason => 'timeout');
SELECT payload FROM pgq_reserve('reload', max => 2);
SELECT payload, reason FROM pgq_peek_dead('reload', 9);
-- mail for what is dead: a worker of what is told, which leaves retries alone
CREATE TABLE mail (message bigint, queue text, about text);
CREATE PROCEDURE mail_deaths() LANGUAGE plpgsql AS $$
DECLARE
    m pgq_message;
BEGIN
    LOOP
        SELECT * INTO m FROM pgq_reserve('told');
        EXIT WHEN NOT FOUND;
        IF m.payload ->> 'event' = 'dead' THEN
            INSERT INTO mail VALUES ((m.payload -> 'id')::bigint, m.payload ->> 'queue', m.payload ->> 'error');
        END IF;
        PERFORM pgq_delete(m.id, m.delivery);
        COMMIT;
    END LOOP;
END $$;
SELECT pgq_create_queue('letters', '{"events_to": "told"}');
SELECT pgq_push('letters', '1') AS id \gset
SELECT outcome FROM pgq_reserve('letters') m, pgq_fail(m.id, 'said 451', m.delivery, '0');
SELECT pgq_bury(:id, 'no such address');
CALL mail_deaths();
SELECT message = :id AS same, queue, about FROM mail;
SELECT total FROM pgq_stats('told');
DROP PROCEDURE mail_deaths;
DROP TABLE mail;
-- messages on another disk; what was there is still there
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_disk LOCATION '';
SELECT pgq_push('disk', '1') IS NOT NULL AS pushed;
ALTER TABLE pgqueue.message SET TABLESPACE regress_disk;
ALTER INDEX pgqueue.message_ready SET TABLESPACE regress_disk;
SELECT pgq_push('disk', '2') IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('disk', max => 9);
ALTER TABLE pgqueue.message SET TABLESPACE pg_default;
ALTER INDEX pgqueue.message_ready SET TABLESPACE pg_default;
SELECT pgq_push('disk', '3') IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('disk', max => 9);
DROP TABLESPACE regress_disk;
SELECT pgq_drop_queue(q) >= 0 AS dropped FROM unnest(ARRAY['tasks', 'states', 'many', 'clients', 'reload', 'letters', 'told', 'disk']) q;
