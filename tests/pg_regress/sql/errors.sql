-- Each mistake has its SQLSTATE.
\set VERBOSITY sqlstate
-- 22004: a null where none may be
SELECT pgq_push(NULL, '1');
SELECT pgq_push('q', NULL);
SELECT pgq_push('q', '1', priority => NULL);
SELECT pgq_push_bytes('q', NULL);
SELECT pgq_push_batch('q', NULL);
SELECT pgq_push_batch('q', ARRAY['1', NULL]::jsonb[]);
SELECT pgq_push_bytes_batch('q', ARRAY[NULL]::bytea[]);
SELECT pgq_reserve(NULL);
SELECT pgq_reserve('q', max => NULL);
SELECT pgq_delete(NULL::bigint);
SELECT pgq_delete_batch(NULL::bigint[]);
SELECT pgq_delete_batch(ARRAY[1, NULL]::bigint[]);
SELECT pgq_delete_batch(ARRAY[1, 2]::bigint[], ARRAY[1, NULL]);
SELECT pgq_extend(1, NULL);
SELECT pgq_fail(1, NULL);
SELECT pgq_bury(1, NULL);
SELECT pgq_release(1, NULL);
SELECT pgq_create_queue('q', NULL);
CALL pgq_wait('q', NULL);
-- 22023: spans of time
SELECT pgq_push('q', '1', delay => '-1 s');
SELECT pgq_push('q', '1', delay => '1500 us');
SELECT pgq_push('q', '1', delay => '101 years');
SELECT pgq_push('q', '1', ttl => '0');
SELECT pgq_push('q', '1', lease => '-1 ms');
SELECT pgq_push('q', '1', delay => '1 s', deliver_at => now());
SELECT pgq_push('q', '1', deliver_at => 'infinity');
SELECT pgq_reserve('q', lease => '0');
SELECT pgq_reserve('q', lease => '999 us');
SELECT pgq_extend(1, '0');
SELECT pgq_release(1, '-1 s');
SELECT pgq_fail(1, 'x', delay => '-1 s');
CALL pgq_wait('q', '-1 s');
-- 22023: numbers, arrays, words
SELECT pgq_push('q', '1', priority => 32768);
SELECT pgq_push('q', '1', max_deliveries => -1);
SELECT pgq_push('q', '1', on_duplicate => 'explode');
SELECT pgq_push_batch('q', '{}');
SELECT pgq_push_batch('q', ARRAY[ARRAY['1', '2'], ARRAY['3', '4']]::jsonb[]);
SELECT pgq_push_batch('q', ARRAY['1', '2']::jsonb[], headers => ARRAY['{}']::jsonb[]);
SELECT pgq_reserve('q', max => 0);
SELECT pgq_pop('q', max => -1);
SELECT pgq_peek('q', max => 0);
SELECT pgq_peek('q', state => 'asleep');
SELECT pgq_purge('q', 'asleep');
SELECT pgq_delete_batch('{}'::bigint[]);
SELECT pgq_delete_batch(ARRAY[1, 2]::bigint[], ARRAY[1]);
SELECT pgq_extend_batch('{}'::bigint[], '1 s');
SELECT pgq_release_batch('{}'::bigint[]);
SELECT pgq_fail_batch('{}'::bigint[], 'x');
SELECT pgq_bury_batch('{}'::bigint[], 'x');
SELECT pgq_next('q', ARRAY[1]::bigint[], ARRAY[1, 2]);
CALL pgq_wait('q', min => 0);
SELECT pgq_push('', '1');
-- 22023: settings
SELECT pgq_create_queue('q', '[]');
SELECT pgq_create_queue('q', '{"lase": "1 s"}');
SELECT pgq_create_queue('q', '{"lease": 30}');
SELECT pgq_create_queue('q', '{"lease": "0 s"}');
SELECT pgq_create_queue('q', '{"max_deliveries": -1}');
SELECT pgq_create_queue('q', '{"max_deliveries": 1.5}');
SELECT pgq_create_queue('q', '{"backoff": {"factor": 0}}');
-- 54000: longer than 512 bytes
SELECT pgq_push(repeat('x', 513), '1');
SELECT pgq_push(repeat('ü', 257), '1');
SELECT pgq_push('q', '1', group_key => repeat('g', 513));
SELECT pgq_push('q', '1', dedup_key => repeat('k', 513));
SELECT pgq_reserve('q', group_key => repeat('g', 513));
SELECT pgq_count('q', group_key => repeat('g', 513));
SELECT pgq_purge('q', group_key => repeat('g', 513));
-- 22023: keys are not empty, settings are known words
SELECT pgq_push('q', '1', group_key => '');
SELECT pgq_push('q', '1', dedup_key => '');
SELECT pgq_push('q', '1', dedup_key => 'k', on_duplicate => 'keep');
SELECT pgq_create_queue('q', '{"groups": "random"}');
SELECT pgq_create_queue('q', '{"dedup_window": "0 s"}');
-- 42704: no such queue
SELECT pgq_alter_queue('nobody knows', '{}');
SELECT pgq_drop_queue('nobody knows');
SELECT pgq_purge('nobody knows');
SELECT pgq_pause('nobody knows');
SELECT pgq_resume('nobody knows');
SELECT pgq_dump_dead('nobody knows');
SELECT pgq_peek_dead('nobody knows');
SELECT pgq_redrive('nobody knows');
-- 25006: nothing can be written
BEGIN READ ONLY;
SELECT pgq_push('q', '1');
ROLLBACK;
BEGIN READ ONLY;
SELECT pgq_reserve('q');
ROLLBACK;
BEGIN READ ONLY;
SELECT pgq_delete(1);
ROLLBACK;
BEGIN READ ONLY;
SELECT pgq_count('q'), (SELECT count(*) FROM pgq_stats('q')), (SELECT count(*) FROM pgq_peek('q')), (SELECT count(*) FROM pgq_get(-1));
COMMIT;
-- 25001: pgq_wait where a snapshot has to stay
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL pgq_wait('q', '1 ms');
ROLLBACK;
CREATE FUNCTION waits() RETURNS void LANGUAGE plpgsql AS $$ DECLARE ready boolean; BEGIN CALL pgq_wait('q', '1 ms', ready => ready); END $$;
SELECT waits();
DROP FUNCTION waits;
BEGIN;
DECLARE c CURSOR FOR SELECT 1;
FETCH c;
CALL pgq_wait('q', '1 ms');
ROLLBACK;
-- nothing of this has changed anything
SELECT count(*) FROM pgq_list_queues() WHERE queue = 'q';
-- in full: what it says, and what to do
\set VERBOSITY default
SELECT pgq_push('q', NULL);
SELECT pgq_reserve('q', lease => '1500 us');
SELECT pgq_create_queue('q', '{"backoff": {"base": 1}}');
SELECT pgq_drop_queue('nobody knows');
SELECT pgq_push(repeat('x', 513), '1');
SELECT pgq_peek('q', state => 'asleep');
SELECT pgq_release_batch(ARRAY[-1, -2]::bigint[], strict => true);
