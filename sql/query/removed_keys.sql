-- Echoes behind messages that were deleted undelivered (engine/message/siblings.rs).
SELECT echo.queue, echo.priority::integer, echo.id
  FROM gone
  JOIN pgqueue.message echo ON echo.queue = gone.queue AND echo.dedup_key = gone.dedup_key
 WHERE gone.key_place <= 0 AND echo.key_place < 0 AND echo.id > gone.id
