-- Transactions, prepared ones too, that may have written roles that this one does not see yet.
SELECT DISTINCT virtualtransaction
  FROM pg_locks
 WHERE locktype = 'relation'
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND relation = ANY ('{pgqueue.queue, pgqueue.topic, pgqueue.schedule, pgqueue.privilege}'::regclass[])
   AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
   AND pid IS DISTINCT FROM pg_backend_pid()
