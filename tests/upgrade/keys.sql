-- Unique keys and limits in every state, beside messages.sql: run once with each released version
-- from 0.2.0 on, on an empty server; tests/upgrade/keys-VERSION.sql is pg_dump's output after it.
CREATE EXTENSION pgqueue;
SELECT pgq_create_queue('k');
-- 1: leased for long; 2: waits behind it with the key.
SELECT pgq_push('k', '"a old"', dedup_key => 'a');
SELECT pgq_reserve('k', '20000 days');
SELECT pgq_push('k', '"a new"', dedup_key => 'a');
-- 3: was leased, waits again. 4: never leased.
SELECT pgq_push('k', '"b"', dedup_key => 'b', priority => -1);
SELECT pgq_release(id, '0', delivery) FROM pgq_reserve('k');
SELECT pgq_push('k', '"c"', dedup_key => 'c');
-- 5: superseded by 6, both have been leased and wait again.
SELECT pgq_push('k', '"d old"', dedup_key => 'd', priority => -2);
SELECT pgq_reserve('k', '1 ms');
SELECT pgq_push('k', '"d new"', dedup_key => 'd', priority => -3);
SELECT pgq_reserve('k', '1 ms');
-- 7: counted on by a push after it came back: its receipt is not good.
SELECT pgq_push('k', '"e"', dedup_key => 'e', priority => -4);
SELECT pgq_release(id, '0', delivery) FROM pgq_reserve('k');
SELECT pgq_push('k', '"e ignored"', dedup_key => 'e');
-- A limit with two of three slots in use; 8 to 11.
SELECT pgq_create_queue('l', '{"max_leased": 3}');
SELECT pgq_push_batch('l', '{1,2,3,4}');
SELECT pgq_reserve('l', '20000 days', max => 2);
