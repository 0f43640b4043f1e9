SELECT transaction::text::bigint
  FROM pg_prepared_xacts
 WHERE database = current_database()
 ORDER BY 1
