-- one message; its queue appears with it
SELECT pgq_push('mail', '{"to": "a@b.c"}') AS id \gset
SELECT payload, body, headers, priority, delivery FROM pgq_reserve('mail');
SELECT name, owner, settings, paused FROM pgq_list_queues();
-- all the options
SELECT pgq_push('options', '1', headers => '{"trace": 7}', priority => 5, lease => '90 s', max_deliveries => 2) AS id \gset
SELECT state, headers, priority, max_deliveries, delivery, due_at IS NULL AS due_now FROM pgq_get(:id);
SELECT headers, priority, leased_until - clock_timestamp() BETWEEN '80 s' AND '90 s' AS own_lease FROM pgq_reserve('options');
-- delayed messages wait, and are there when their time has come
SELECT pgq_push('later', '"in an hour"', delay => '1 h') IS NOT NULL AS pushed;
SELECT pgq_push('later', '"tomorrow"', deliver_at => now() + '1 day') IS NOT NULL AS pushed;
SELECT pgq_push('later', '"yesterday"', deliver_at => now() - '1 day'::interval) IS NOT NULL AS pushed;
SELECT payload FROM pgq_reserve('later', max => 10);
SELECT ready, delayed, leased FROM pgq_stats('later');
UPDATE pgqueue.message SET due_at = now() - '1 s'::interval WHERE lane = 'd';
SELECT payload FROM pgq_reserve('later', max => 10);
-- a batch keeps the order of its array, rising ids and all
SELECT count(*), bool_and(id > before) AS rising
  FROM (SELECT id, lag(id, 1, 0::bigint) OVER () AS before
          FROM pgq_push_batch('batch', ARRAY['1', '"two"', 'null', '{"four": 4}']::jsonb[],
                              headers => ARRAY['{"n": 1}', NULL, '{"n": 3}', NULL]::jsonb[]) AS id) ids;
SELECT payload, headers FROM pgq_reserve('batch', max => 10);
-- bytes
SELECT pgq_push_bytes('bytes', '\x00ff00'::bytea) AS id \gset
SELECT count(*) FROM pgq_push_bytes_batch('bytes', ARRAY['', '\xdeadbeef']::bytea[]);
SELECT payload, body FROM pgq_reserve('bytes', max => 10);
-- names are values, their case is kept, and 512 bytes of them are possible
SELECT pgq_push('Mail; DROP TABLE "x" --', '1') IS NOT NULL AS pushed;
SELECT pgq_push(repeat('ü', 256), '1') IS NOT NULL AS pushed;
SELECT payload, left(queue, 3), octet_length(queue) FROM pgq_reserve(repeat('ü', 256));
SELECT payload FROM pgq_reserve('mail; drop table "x" --');
SELECT payload, queue FROM pgq_reserve('Mail; DROP TABLE "x" --');
-- a push is part of its transaction
BEGIN;
SELECT pgq_push('undone', '1') IS NOT NULL AS pushed;
SELECT pgq_count('undone');
ROLLBACK;
SELECT pgq_count('undone');
SELECT count(*) FROM pgq_list_queues() WHERE name = 'undone';
-- from a trigger, and from a procedure
CREATE TABLE signup (email text);
CREATE FUNCTION welcome() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pgq_push('welcome', to_jsonb(NEW)); RETURN NEW; END $$;
CREATE TRIGGER welcome AFTER INSERT ON signup FOR EACH ROW EXECUTE FUNCTION welcome();
INSERT INTO signup VALUES ('a@example.org'), ('b@example.org');
CREATE PROCEDURE work(INOUT done int) LANGUAGE plpgsql AS $$
DECLARE m pgq_message;
BEGIN
    LOOP
        SELECT * INTO m FROM pgq_reserve('welcome');
        EXIT WHEN NOT FOUND;
        PERFORM pgq_delete(m.id, m.delivery);
        done := done + 1;
        COMMIT;
    END LOOP;
END $$;
CALL work(0);
DROP TABLE signup;
DROP FUNCTION welcome;
DROP PROCEDURE work;
