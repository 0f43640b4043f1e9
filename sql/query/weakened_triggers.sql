-- Triggers of the extension that do not fire ALWAYS. A restore without triggers leaves them so.
SELECT c.relname::text, t.tgname::text, p.proname = 'pin_role' AND t.tgtype & 32 = 0, t.tgenabled = 'O'
  FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_proc p ON p.oid = t.tgfoid
 WHERE c.relnamespace = 'pgqueue'::regnamespace AND p.pronamespace = c.relnamespace AND t.tgenabled <> 'A'
 ORDER BY c.relname, t.tgname
