-- Giving back costs no delivery: a worker that lets go of what it never began does not kill it.
-- Receipts go on: those from before are old ones.
SELECT pgq_create_queue('shutdown', '{"max_deliveries": 2, "backoff": {"base": "0.001 s", "jitter": 0}}');
SELECT pgq_push('shutdown', '"job"') AS job \gset
CREATE FUNCTION give_back(delay interval, times int) RETURNS TABLE (deliveries int[], old_receipts bigint) LANGUAGE plpgsql AS $$
DECLARE
    m pgq_message;
BEGIN
    old_receipts := 0;
    FOR n IN 1 .. times LOOP
        UPDATE pgqueue.message SET due_at = clock_timestamp() WHERE lane = 'd'; -- the time has come
        SELECT * INTO m FROM pgq_reserve('shutdown', lease => '1 h');
        IF m.delivery > 1 AND pgq_release(m.id, delay, m.delivery - 1) THEN
            old_receipts := old_receipts + 1;
        END IF;
        deliveries := deliveries || CASE WHEN pgq_release(m.id, delay, m.delivery) THEN m.delivery END;
    END LOOP;
    RETURN NEXT;
END $$;
SELECT * FROM give_back('0', 5);
-- Nor does putting it off.
SELECT * FROM give_back('1 h', 3);
SELECT state, delivery, attempts, max_deliveries FROM pgq_get(:job);
UPDATE pgqueue.message SET due_at = clock_timestamp() WHERE id = :job;
-- A failure counts, as does a lease that runs out; its delivery is the receipt's.
SELECT f.outcome, m.delivery FROM pgq_reserve('shutdown') m, pgq_fail(m.id, 'no', m.delivery, '0') f;
SELECT * FROM give_back('0', 3);
SELECT m.id = :job AS is_it, m.delivery FROM pgq_reserve('shutdown', lease => '1 ms') m;
SELECT pg_sleep(0.01);
SELECT count(*) FROM pgq_reserve('shutdown');
SELECT state, delivery, attempts, reason FROM pgq_get(:job);
-- Redriven as it is, it keeps both counts and gets one attempt more.
SELECT pgq_redrive('shutdown', reset => false);
SELECT state, delivery, attempts, max_deliveries FROM pgq_get(:job);
SELECT * FROM give_back('0', 2);
SELECT f.outcome FROM pgq_reserve('shutdown') m, pgq_fail(m.id, 'no', m.delivery) f;
SELECT state, delivery, attempts FROM pgq_get(:job);
SELECT pgq_redrive('shutdown');
SELECT m.delivery, g.attempts FROM pgq_reserve('shutdown') m, pgq_get(m.id) g;
-- Archived messages tell too.
SELECT pgq_create_queue('keeps', '{"archive": "1 day"}'), pgq_push('keeps', '1') AS keeps \gset
SELECT pgq_release(id, delivery => delivery) FROM pgq_reserve('keeps');
SELECT pgq_delete(id, delivery) FROM pgq_reserve('keeps');
SELECT state, delivery, attempts FROM pgq_get(:keeps);
DROP FUNCTION give_back;
SELECT pgq_drop_queue('shutdown'), pgq_drop_queue('keeps') IS NOT NULL AS dropped;
