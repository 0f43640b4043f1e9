SELECT last_run, page_size, leases_expired, moved_to_dead, dropped, ttl_dropped, dead_dropped, archive_dropped, errors
  FROM pgqueue.vacuum_run
