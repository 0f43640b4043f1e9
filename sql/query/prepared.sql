SELECT transaction::text::bigint, database = current_database()
  FROM pg_prepared_xacts
 ORDER BY 1
