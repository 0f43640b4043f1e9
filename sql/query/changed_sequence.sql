-- The first sequence of the extension that a user has changed so that a number may come twice, or before an
-- earlier one; the problem, and the statement that mends it.
SELECT changed.name, changed.problem, 'ALTER SEQUENCE ' || changed.name || ' ' || changed.mend
  FROM (SELECT s.seqrelid::regclass::text AS name,
               CASE WHEN c.relpersistence <> 'p' THEN 'a crash sets it back'
                    WHEN s.seqcache <> 1 THEN 'sessions draw numbers before they need them'
                    WHEN s.seqincrement <> 1 OR s.seqcycle THEN 'its numbers do not rise by one' END AS problem,
               CASE WHEN c.relpersistence <> 'p' THEN 'SET LOGGED'
                    WHEN s.seqcache <> 1 THEN 'CACHE 1'
                    ELSE 'INCREMENT BY 1 NO CYCLE' END AS mend
          FROM pg_sequence s
          JOIN pg_class c ON c.oid = s.seqrelid
         WHERE s.seqrelid IN ('pgqueue.message_id'::regclass, 'pgqueue.queue_id'::regclass)) changed
 WHERE changed.problem IS NOT NULL
 ORDER BY changed.name
 LIMIT 1
