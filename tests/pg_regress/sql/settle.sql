-- delete: what was there and is gone
SELECT array_agg(id) AS ids FROM pgq_push_batch('delete', ARRAY['1', '2', '3']::jsonb[]) AS id \gset
SELECT count(*) FROM pgq_delete_batch(:'ids'::bigint[] || ARRAY[-1, -1]::bigint[]);
SELECT count(*) FROM pgq_delete_batch(:'ids'::bigint[]);
SELECT pgq_push('delete', '4') AS id \gset
SELECT pgq_delete(:id), pgq_delete(:id);
-- the same id twice is one message
SELECT pgq_push('delete', '5') AS id \gset
SELECT count(*) FROM pgq_delete_batch(ARRAY[:id, :id]);
-- a receipt fences every settle call
SELECT pgq_push('fence', '1') AS id \gset
SELECT delivery FROM pgq_reserve('fence');
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE id = :id;
SELECT delivery FROM pgq_reserve('fence');
SELECT pgq_delete(:id, 1) AS deleted, pgq_release(:id, delivery => 1) AS released, pgq_bury(:id, 'late', 1) AS buried,
       (SELECT count(*) FROM pgq_extend(:id, '1 h', 1)) AS extended, (SELECT count(*) FROM pgq_fail(:id, 'late', 1)) AS failed;
SELECT count(*) FROM pgq_delete_batch(ARRAY[:id], ARRAY[1]);
SELECT count(*) FROM pgq_extend_batch(ARRAY[:id], '1 h', ARRAY[1]);
SELECT count(*) FROM pgq_release_batch(ARRAY[:id], deliveries => ARRAY[1]);
SELECT count(*) FROM pgq_fail_batch(ARRAY[:id], 'late', ARRAY[1]);
SELECT count(*) FROM pgq_bury_batch(ARRAY[:id], 'late', ARRAY[1]);
-- 0 is no delivery, and not a word for any
SELECT pgq_delete(:id, 0), pgq_release(:id, delivery => 0), pgq_bury(:id, 'x', 0), (SELECT count(*) FROM pgq_fail(:id, 'x', 0));
SELECT state, delivery, errors FROM pgq_get(:id);
SELECT pgq_delete(:id, 2) AS deleted;
-- extend: now + lease, for leases still valid
SELECT pgq_push('extend', '1') AS id \gset
SELECT count(*) FROM pgq_extend(:id, '1 h');
SELECT count(*) FROM pgq_reserve('extend', lease => '1 min');
SELECT e.id = :id AS same, e.leased_until - clock_timestamp() BETWEEN '3590 s' AND '3600 s' AS an_hour, e.leased_until = g.leased_until AS kept
  FROM pgq_extend(:id, '1 h', 1) e, LATERAL (SELECT leased_until FROM pgq_get(e.id)) g;
UPDATE pgqueue.message SET lease_until = now() - '1 s'::interval WHERE id = :id;
SELECT count(*) FROM pgq_extend_batch(ARRAY[:id], '1 h');
-- release: back in its old place, at once or after a delay, the count kept
SELECT count(*) FROM pgq_push_batch('release', ARRAY['1', '2', '3']::jsonb[]);
SELECT array_agg(id) AS ids FROM pgq_reserve('release', max => 2) \gset
SELECT count(*) FROM pgq_release_batch(:'ids'::bigint[]);
SELECT count(*) FROM pgq_release_batch(:'ids'::bigint[]);
SELECT payload, delivery FROM pgq_reserve('release', max => 1);
SELECT pgq_release((:'ids'::bigint[])[1], '1 h') AS released;
SELECT payload, state FROM pgq_get((:'ids'::bigint[])[1]);
SELECT payload, delivery FROM pgq_reserve('release', max => 10);
-- strict: all or none
\set VERBOSITY sqlstate
SELECT count(*) FROM pgq_release_batch(:'ids'::bigint[], strict => true);
\set VERBOSITY default
SELECT leased, ready, delayed FROM pgq_stats('release');
SELECT count(*) FROM pgq_release_batch((:'ids'::bigint[])[2:2], strict => true);
-- an expired message is reservable at once, in its old place
SELECT count(*) FROM pgq_push_batch('expire', ARRAY['1', '2']::jsonb[]);
SELECT payload FROM pgq_reserve('expire', lease => '1 ms');
SELECT pg_sleep(0.005);
SELECT payload, delivery FROM pgq_reserve('expire');
-- a rolled back reserve gives its message back with the same delivery number
SELECT pgq_push('undo', '1') IS NOT NULL AS pushed;
BEGIN;
SELECT delivery FROM pgq_reserve('undo');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT delivery FROM pgq_reserve('undo');
ROLLBACK TO s;
SELECT delivery FROM pgq_reserve('undo');
COMMIT;
-- exactly-once effects: the work and the settling commit together
CREATE TABLE ledger (id bigint PRIMARY KEY);
SELECT pgq_push('work', '1') IS NOT NULL AS pushed;
WITH m AS (SELECT * FROM pgq_reserve('work')), done AS (INSERT INTO ledger SELECT id FROM m RETURNING id)
SELECT pgq_delete(m.id, m.delivery) FROM m JOIN done USING (id);
SELECT count(*), (SELECT total FROM pgq_stats('work')) AS left FROM ledger;
DROP TABLE ledger;

-- By receipt: one value, from the row of a reserve to each settle call
SELECT pgq_create_queue('receipts', '{"max_deliveries": 0}');
SELECT count(*) FROM pgq_push_batch('receipts', array_fill('1'::jsonb, ARRAY[20]));
SELECT id, delivery, receipt, receipt = id || '-' || delivery AS made_of_both FROM pgq_reserve('receipts', '1 h') \gset
\echo :made_of_both
SELECT pgq_delete(:id, :delivery + 1), pgq_delete_by_receipt(:'id' || '-' || 7);
SELECT id = :id AS it, leased_until > now() + '1 h' AS longer FROM pgq_extend_by_receipt(:'receipt', '2 h');
SELECT pgq_release_by_receipt(:'receipt');
SELECT pgq_release_by_receipt(:'receipt'), pgq_delete_by_receipt(:'receipt') AS no_longer_leased;
SELECT receipt FROM pgq_reserve('receipts', '1 h') \gset
SELECT outcome, retry_at > now() + '50 min' AS put_off FROM pgq_fail_by_receipt(:'receipt', 'no', '1 h');
SELECT receipt FROM pgq_reserve('receipts', '1 h') \gset
SELECT pgq_release_by_receipt(:'receipt', '1 h');
SELECT count(*) FROM pgq_extend_by_receipt(:'receipt', '1 h');
SELECT receipt AS old FROM pgq_reserve('receipts', '1 h') \gset
SELECT pgq_bury_by_receipt(:'old', 'no'), pgq_bury_by_receipt(:'old', 'no') AS again;
-- strict: the error is that of an id and a delivery
SELECT pgq_delete_by_receipt('1-77', strict => true);
SELECT pgq_extend_by_receipt('1-77', '1 h', true);
SELECT pgq_release_by_receipt('1-77', strict => true);
SELECT pgq_fail_by_receipt('1-77', 'no', strict => true);
SELECT pgq_bury_by_receipt('1-77', 'no', true);
-- batches
SELECT array_agg(receipt) AS receipts, array_agg(id) AS ids FROM pgq_reserve('receipts', '1 h', 6) \gset
SELECT count(*) FROM pgq_extend_by_receipts(:'receipts', '2 h');
SELECT count(*) FROM pgq_delete_by_receipts((:'receipts'::text[])[1:2] || ARRAY['1-77'] || (:'receipts'::text[])[1:1]);
SELECT count(*) FROM pgq_release_by_receipts((:'receipts'::text[])[3:4], '1 h');
SELECT count(*) FROM pgq_fail_by_receipts((:'receipts'::text[])[5:5], 'no');
SELECT count(*) FROM pgq_bury_by_receipts((:'receipts'::text[])[6:6], 'no');
SELECT count(*) FROM pgq_extend_by_receipts('{}', '1 h');
\set VERBOSITY sqlstate
SELECT pgq_delete_by_receipts((:'receipts'::text[])[3:3] || ARRAY['1-77'], strict => true);
\set VERBOSITY default
SELECT count(*) FROM pgq_delete_by_receipts(:'receipts', strict => false);
-- next: deletes by receipts too, and gives the receipt of what it refuses
SELECT array_agg(receipt) AS receipts FROM pgq_next('receipts', lease => '1 h', max => 2) \gset
SELECT receipt = '1-77' AS refused, queue FROM pgq_next('receipts', receipts => :'receipts'::text[] || ARRAY['1-77'], show_refused => true);
SELECT count(*) FROM pgq_delete_by_receipts(:'receipts');
SELECT pgq_next('receipts', receipts => '{1-77}', strict => true);
SELECT pgq_next('receipts', '{1}', receipts => '{1-1}');
-- a receipt is for the consumer that has leased the message
SELECT count(*), count(receipt) FROM pgq_peek('receipts', 9);
SELECT count(*), count(receipt) FROM pgq_peek('receipts', 9, 'leased');
SELECT count(*), count(receipt) FROM pgq_pop('receipts', 2);
-- what is no receipt
SELECT pgq_delete_by_receipt('soon');
SELECT pgq_delete_by_receipt('1');
SELECT pgq_delete_by_receipt('');
SELECT pgq_extend_by_receipt('1-', '1 h');
SELECT pgq_release_by_receipt('01-1');
SELECT pgq_fail_by_receipt('1-1 ', 'no');
SELECT pgq_bury_by_receipt('9223372036854775808-1', 'no');
SELECT pgq_delete_by_receipts('{1-1,later}');
SELECT pgq_next('receipts', receipts => '{1:1}');
SELECT pgq_delete_by_receipt(repeat('é', 1000));
SELECT pgq_delete_by_receipt(NULL);
SELECT pgq_delete_by_receipts('{1-1,NULL}');
SELECT pgq_delete_by_receipts(NULL);
SELECT pgq_extend_by_receipt('1-1', NULL);
SELECT pgq_fail_by_receipt('1-1', NULL);
SELECT pgq_drop_queue('receipts') > 0;
