-- Triggers of ours that fire only where nothing is replicated, with what sets them back. The lock
-- is not waited for: others would have to wait behind it.
SELECT format('LOCK TABLE pgqueue.%I IN SHARE ROW EXCLUSIVE MODE NOWAIT', relname),
       format('ALTER TABLE pgqueue.%I ENABLE ALWAYS TRIGGER %I', relname, tgname)
  FROM pg_class
  JOIN pg_trigger ON tgrelid = pg_class.oid
  JOIN pg_proc ON pg_proc.oid = tgfoid
 WHERE relnamespace = 'pgqueue'::regnamespace AND pronamespace = relnamespace
   AND NOT tgisinternal AND tgenabled = 'O'
 ORDER BY 1, 2
