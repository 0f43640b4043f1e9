-- one message; its queue appears with it
SELECT pgq_push('mail', '{"to": "a@b.c"}') AS id \gset
SELECT payload, body, headers, priority, delivery FROM pgq_reserve('mail');
SELECT queue, owner, settings, paused FROM pgq_list_queues();
-- all the options
SELECT pgq_push('options', '1', headers => '{"trace": 7}', priority => 5, lease => '90 s', max_deliveries => 2) AS id \gset
SELECT state, headers, priority, max_deliveries, delivery, deliver_at IS NULL AS due_now FROM pgq_get(:id);
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
SELECT count(*) FROM pgq_list_queues() WHERE queue = 'undone';
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

-- push_each: options for each message; ids in the order of the array
SELECT pgq_create_queue('each', '{"ttl": "1 day"}');
SELECT id - min(id) OVER () AS nth FROM pgq_push_each('each', '[
    {"payload": 1.10},
    {"payload": null, "headers": {"h": 1}, "priority": -3},
    {"payload": {"a": [1, {"b": "\u00e9"}]}, "delay": "1 h"},
    {"payload": "text", "deliver_at": "2100-02-01 10:00+00", "ttl": "99 years"},
    {"payload": [], "group_key": "g", "lease": "2 h", "max_deliveries": 0},
    {"payload": true, "group_key": "g", "priority": 7},
    {"payload": 1.10},
    {"payload": 8, "headers": null, "priority": null, "delay": "0 s", "ttl": null, "dedup_key": null, "deliver_at": null,
     "group_key": null, "on_duplicate": null, "lease": null, "max_deliveries": null}]') WITH ORDINALITY AS m(id, n) ORDER BY n;
SELECT g.payload, g.state, g.headers, g.priority, g.group_key, g.max_deliveries,
       g.deliver_at - g.enqueued_at BETWEEN '59 min 59 s' AND '1 h' AS delayed, g.deliver_at > now() + '1 year' AS far,
       round(extract(epoch FROM g.expires_at - g.enqueued_at) / 86400) AS days
  FROM pgqueue.message m JOIN pgqueue.queue q ON q.id = m.queue AND q.name = 'each', pgq_get(m.id) g ORDER BY m.id;
SELECT payload, leased_until > now() + '1 h' AS for_long FROM pgq_reserve('each', max => 9);
SELECT queue, ready, delayed, leased, blocked, total, pushed FROM pgq_stats('each', exact => true);
SELECT queue, ready, delayed, leased, blocked, total, pushed FROM pgq_stats('each');
SELECT pgq_purge('each');
-- groups in turn, among them messages of this transaction
BEGIN;
SELECT pgq_push('each', '0', group_key => 'a') IS NOT NULL;
SELECT count(*) FROM pgq_push_each('each', (SELECT jsonb_agg(jsonb_build_object('payload', n, 'group_key', CASE n % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' END, 'priority', n % 2)) FROM generate_series(1, 9) n));
COMMIT;
SELECT payload, state, group_key FROM pgq_peek('each', 20) m, LATERAL (SELECT state FROM pgq_get(m.id)) g ORDER BY id;
SELECT payload, group_key FROM pgq_reserve('each', max => 20) ORDER BY id;
SELECT count(*) FROM pgq_delete_batch(ARRAY(SELECT id FROM pgq_peek('each', 20, 'leased')));
SELECT payload, group_key FROM pgq_reserve('each', max => 20) ORDER BY id;
SELECT ready, leased, blocked FROM pgq_stats('each', exact => true);
SELECT ready, leased, blocked FROM pgq_stats('each');
SELECT pgq_purge('each');
-- keys: each with its own on_duplicate; the id of one that waits
SELECT id - min(id) OVER () AS nth FROM pgq_push_each('each', '[{"payload": 1, "dedup_key": "k"}, {"payload": 2}, {"payload": 3, "dedup_key": "k"},
    {"payload": 4, "dedup_key": "l", "priority": 1}, {"payload": 5, "dedup_key": "k", "on_duplicate": "replace"}]') WITH ORDINALITY AS m(id, n) ORDER BY n;
SELECT payload, priority FROM pgq_peek('each', 9) ORDER BY id;
\set VERBOSITY sqlstate
SELECT pgq_push_each('each', '[{"payload": 6, "dedup_key": "new"}, {"payload": 7, "dedup_key": "k", "on_duplicate": "reject"}]');
\set VERBOSITY default
SELECT payload FROM pgq_peek('each', 9) ORDER BY id;
-- room for all of them, or for none
SELECT pgq_alter_queue('each', '{"max_length": 5}');
\set VERBOSITY terse
SELECT pgq_push_each('each', '[{"payload": 8}, {"payload": 9, "priority": 1}, {"payload": 10}]');
SELECT total FROM pgq_stats('each');
SELECT count(*) FROM pgq_push_each('each', '[{"payload": 8}, {"payload": 9, "priority": 1}]');
SELECT pgq_push_each('each', '[{"payload": 8}]');
\set VERBOSITY default
SELECT pgq_drop_queue('each');
-- none of them
SELECT count(*) FROM pgq_push_each('not made', '[]');
SELECT count(*) FROM pgq_list_queues() WHERE queue = 'not made';
-- mistakes: the message and its field are named, and nothing is pushed
SELECT pgq_push_each('not made', '[{"payload": 1}, {"payload": 2, "delya": "1 h"}]');
SELECT pgq_push_each('not made', '[{"payload": 1}, {"priority": 1}]');
SELECT pgq_push_each('not made', '[{"payload": 1}, 2]');
SELECT pgq_push_each('not made', '[[]]');
SELECT pgq_push_each('not made', '[null]');
SELECT pgq_push_each('not made', '{"payload": 1}');
SELECT pgq_push_each('not made', '1');
SELECT pgq_push_each('not made', NULL);
SELECT pgq_push_each(NULL, '[]');
SELECT pgq_push_each('not made', '[{"payload": 1, "priority": 32768}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "priority": 1.5}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "priority": "1"}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "priority": 1e30}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "delay": 10}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "delay": "soon"}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "delay": "1 h"}, {"payload": 2, "ttl": "1 fortnight"}]');
SELECT pgq_push_each('not made', '[{"payload": 1}, {"payload": 2, "lease": "999999999999 years"}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "deliver_at": "2100-02-30"}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "deliver_at": "2100-01-01 Europe/Nowhere"}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "delay": "1 h", "deliver_at": "2100-01-01"}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "deliver_at": "infinity"}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "deliver_at": "whenever"}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "ttl": "0 s"}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "group_key": ""}]');
SELECT pgq_push_each('not made', jsonb_build_array(jsonb_build_object('payload', 1, 'dedup_key', repeat('k', 513))));
SELECT pgq_push_each('not made', '[{"payload": 1, "on_duplicate": "skip"}]');
SELECT pgq_push_each('not made', '[{"payload": 1, "max_deliveries": -1}]');
SELECT pgq_push_each('not made', (SELECT jsonb_agg(1) FROM generate_series(1, 1000001)));
SELECT count(*) FROM pgq_list_queues() WHERE queue = 'not made';
