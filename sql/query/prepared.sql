SELECT FROM pg_prepared_xacts WHERE database = current_database() LIMIT 1
