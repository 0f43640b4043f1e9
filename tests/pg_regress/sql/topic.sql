-- A message that is published to a topic goes into each queue whose pattern its routing key matches.
CREATE FUNCTION got(queue text) RETURNS TABLE (payload jsonb, headers jsonb, priority bigint, group_key text) LANGUAGE sql AS $$
    SELECT payload, headers, priority, group_key FROM pgq_pop(queue, 100);
$$;
SELECT pgq_create_topic('orders'), pgq_create_topic('orders');
-- the queues are made
SELECT pgq_subscribe('orders', 'audit');
SELECT pgq_subscribe('orders', 'audit');
SELECT pgq_subscribe('orders', 'europe', 'eu.#'), pgq_subscribe('orders', 'billing', '*.paid');
SELECT pgq_publish('orders', '1', 'eu.paid'), pgq_publish('orders', '2', 'us.paid'), pgq_publish('orders', '3', 'us.sent.late'), pgq_publish('orders', '4');
SELECT * FROM got('audit');
SELECT * FROM got('europe');
SELECT * FROM got('billing');
-- a queue gets a message once, however many of its patterns match
SELECT pgq_subscribe('orders', 'billing', 'eu.*'), pgq_subscribe('orders', 'billing', '#.paid');
SELECT pgq_publish('orders', '5', 'eu.paid');
SELECT payload FROM got('billing');
-- what a pattern matches
SELECT pgq_create_topic('match');
SELECT pgq_subscribe('match', 'p:' || pattern, pattern)
  FROM unnest('{"",#,*,a,a.b,a.*,*.b,a.#,#.b,#.a.#,*.#,#.*,*.*,a.#.b,#.#.b,é.*}'::text[]) pattern;
CREATE FUNCTION matching(key text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pgq_publish('match', '1', key);
    RETURN (SELECT string_agg(format('"%s"', pattern), ' ' ORDER BY pattern COLLATE "C") FROM pgq_list_subscriptions('match') s, pgq_pop(s.queue));
END $$;
SELECT key, matching(key) FROM unnest('{"",a,b,a.b,b.a,a.b.b,a.x.b,x.a.y,é.b,A.b}'::text[]) key;
DROP FUNCTION matching;
SELECT pgq_drop_topic('match');
-- the options of a push, for each queue; the headers of a topic are its own
SELECT pgq_unsubscribe('orders', 'europe');
SELECT pgq_publish('orders', '6', 'eu.paid', '{"source": "shop", "topic": "forged", "routing_key": 7}', priority => -3, group_key => 'ann', ttl => '1 h', lease => '1 min', max_deliveries => 2);
SELECT * FROM pgq_peek('audit') m, LATERAL (SELECT expires_at - enqueued_at AS ttl, max_deliveries FROM pgq_get(m.id)) g \gset seen_
SELECT :'seen_headers' AS headers, :'seen_priority' AS priority, :'seen_group_key' AS group_key, :'seen_ttl' AS ttl, :'seen_max_deliveries' AS max_deliveries;
SELECT payload FROM got('audit'), got('billing') b(p);
SELECT pgq_publish('orders', '7', 'eu.paid', delay => '1 h');
SELECT payload, pgq_cancel(id) FROM pgq_peek('audit', state => 'delayed') UNION ALL SELECT payload, pgq_cancel(id) FROM pgq_peek('billing', state => 'delayed');
SELECT pgq_publish('orders', to_jsonb(n), 'us.paid', dedup_key => 'k', on_duplicate => 'replace') FROM generate_series(8, 9) n;
SELECT payload FROM got('audit') UNION ALL SELECT payload FROM got('billing');
-- a consumer may ask for some of them
SELECT pgq_publish('orders', '10', 'eu.paid'), pgq_publish('orders', '11', 'us.paid');
SELECT payload FROM pgq_pop('audit', filter => '{"routing_key": "us.paid"}');
SELECT payload FROM got('audit');
SELECT count(*) FROM got('billing');
-- a batch: each message with its own key, all or none, in their order
SELECT pgq_publish_batch('orders', '{1,2,3}', '{eu.paid,eu.sent,us.paid}', ARRAY['{"n": 1}', NULL, '{"n": 3}']::jsonb[]);
SELECT payload, headers FROM got('audit');
SELECT payload FROM got('billing');
SELECT pgq_publish_batch('orders', '{1,2,3}'), pgq_publish_batch('orders', '{}');
SELECT payload, headers FROM got('audit');
SELECT pgq_publish_batch('orders', '{1,2,3}', '{us.paid,us.sent,us.paid}', dedup_keys => '{k,k,k2}');
SELECT payload FROM got('audit');
SELECT payload FROM got('billing');
-- a rollback, or that to a savepoint, publishes nothing
BEGIN;
SELECT pgq_publish('orders', '1', 'eu.paid');
SAVEPOINT s;
SELECT pgq_publish('orders', '2', 'eu.paid');
ROLLBACK TO s;
COMMIT;
SELECT payload FROM got('audit') UNION ALL SELECT payload FROM got('billing');
-- so does a subscription
BEGIN;
SELECT pgq_subscribe('orders', 'late');
SELECT pgq_publish('orders', '1');
ROLLBACK;
SELECT pgq_publish('orders', '2'), (SELECT count(*) FROM pgq_list_subscriptions('orders'));
SELECT payload FROM got('audit');
-- a full queue: nothing anywhere
SELECT pgq_alter_queue('billing', '{"max_length": 2}');
SELECT pgq_publish_batch('orders', '{1,2,3}', '{us.paid,us.paid,us.paid}');
SELECT pgq_count('audit'), pgq_count('billing');
SELECT pgq_alter_queue('billing', '{"on_full": "drop_oldest"}');
SELECT pgq_publish('orders', to_jsonb(n), 'us.paid') FROM generate_series(1, 3) n;
SELECT payload FROM got('audit');
SELECT payload FROM got('billing');
-- a paused queue takes them
SELECT pgq_pause('billing'), pgq_publish('orders', '1', 'us.paid'), pgq_resume('billing');
SELECT payload FROM got('audit') UNION ALL SELECT payload FROM got('billing');
-- unsubscribing, dropping
SELECT pgq_unsubscribe('orders', 'billing', 'eu.*'), pgq_unsubscribe('orders', 'billing', 'eu.*'), pgq_unsubscribe('orders', 'billing', 'no.such');
SELECT * FROM pgq_list_subscriptions();
SELECT pgq_unsubscribe('orders', 'billing');
SELECT pgq_drop_queue('audit');
SELECT * FROM pgq_list_subscriptions('orders');
SELECT pgq_publish('orders', '1', 'us.paid');
SELECT pgq_subscribe('orders', 'billing', 'a'), pgq_subscribe('orders', 'billing', 'b'), pgq_drop_topic('orders');
SELECT * FROM pgq_list_topics();
SELECT count(*) FROM pgqueue.subscription;
-- a topic of that name made again has none of the old subscriptions, and a queue may have its name
SELECT pgq_create_topic('orders'), pgq_create_queue('orders'), pgq_publish('orders', '1', 'a');
-- mistakes
SELECT pgq_publish('orders', '1', 'a..b');
SELECT pgq_publish('orders', '1', 'a.*');
SELECT pgq_subscribe('orders', 'billing', 'a*.b');
SELECT pgq_publish('orders', '1', 'a', '[]');
SELECT pgq_publish('nothing', '1');
SELECT pgq_grant_topic('orders', 'public', 'push');
\set VERBOSITY sqlstate
SELECT pgq_publish('orders', '1', '.');
SELECT pgq_publish('orders', '1', repeat('a', 256));
SELECT pgq_publish('orders', '1', repeat('a', 255));
SELECT pgq_publish('orders', '1', NULL);
SELECT pgq_publish('orders', NULL);
SELECT pgq_publish(NULL, '1');
SELECT pgq_publish('', '1');
SELECT pgq_publish(repeat('t', 513), '1');
SELECT pgq_publish('orders', '1', 'a', priority => 40000);
SELECT pgq_publish('orders', '1', 'a', delay => '1 s', deliver_at => now());
SELECT pgq_publish('orders', '1', 'a', on_duplicate => 'explode');
SELECT pgq_publish_batch('orders', '{1,2}', '{a}');
SELECT pgq_publish_batch('orders', '{1,2}', '{a,NULL}');
SELECT pgq_publish_batch('orders', '{1,2}', '{a,a..b}');
SELECT pgq_publish_batch('orders', '{1,2}', NULL, ARRAY['{}', '1']::jsonb[]);
SELECT pgq_publish_batch('orders', '{1,2}', NULL, ARRAY['{}']::jsonb[]);
SELECT pgq_publish_batch('orders', '{1,2}', dedup_keys => '{a}');
SELECT pgq_publish_batch('orders', '{1,NULL}');
SELECT pgq_subscribe('orders', 'billing', 'a..b');
SELECT pgq_subscribe('orders', 'billing', repeat('*.', 127) || 'aa');
SELECT pgq_subscribe('orders', 'billing', NULL);
SELECT pgq_subscribe('nothing', 'billing');
SELECT pgq_unsubscribe('orders', 'nothing');
SELECT pgq_unsubscribe('nothing', 'billing');
SELECT pgq_unsubscribe('orders', 'billing', 'a..b');
SELECT pgq_list_subscriptions('nothing');
SELECT pgq_drop_topic('nothing');
SELECT pgq_grant_topic('orders', 'nobody there', 'publish');
SELECT pgq_set_topic_owner('orders', 'nobody there');
BEGIN READ ONLY;
SELECT pgq_publish('orders', '1');
ROLLBACK;
SET pgqueue.auto_create = off;
SELECT pgq_subscribe('orders', 'made by no topic');
RESET pgqueue.auto_create;
\set VERBOSITY default
SELECT count(*) FROM pgq_list_subscriptions('orders');
-- a publisher is warned of nothing that befalls the queues of others
CREATE ROLE regress_publisher;
CREATE ROLE regress_subscriber;
SELECT pgq_grant_topic('orders', 'regress_publisher', 'publish'), pgq_grant_topic('orders', 'regress_subscriber', 'subscribe');
SELECT pgq_create_queue('bell'), pgq_grant('bell', 'regress_subscriber', 'push');
SET ROLE regress_subscriber;
SELECT pgq_create_queue('small', '{"max_length": 1, "on_expire": "dead", "events_to": "bell"}'), pgq_subscribe('orders', 'small');
RESET ROLE;
SELECT pgq_revoke('bell', 'regress_subscriber', 'push');
SELECT pgq_push('small', '1', ttl => '1 ms') IS NOT NULL AS pushed, pg_sleep(0.01);
SET ROLE regress_publisher;
SELECT pgq_publish('orders', '2', ttl => '1 ms'), pg_sleep(0.01);
SELECT pgq_publish_batch('orders', '{3,4}');
RESET ROLE;
SELECT pgq_publish('orders', '5');
SELECT pgq_drop_queue('small') AS letters_and_message, pgq_drop_queue('bell');
DROP ROLE regress_publisher, regress_subscriber;
SELECT pgq_drop_topic('orders');
SELECT pgq_drop_queue(queue) FROM pgq_list_queues() WHERE queue ~ '^p:';
SELECT pgq_drop_queue('orders'), pgq_drop_queue('billing'), pgq_drop_queue('europe');
DROP FUNCTION got;
