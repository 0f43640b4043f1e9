-- Delays locked messages until their retry, and notes the error; $4 is now. The last ten errors are kept.
UPDATE pgqueue.message m
   SET lane        = CASE WHEN retry.due_at > $4 THEN 'd' ELSE 'r' END::"char",
       due_at      = CASE WHEN retry.due_at > $4 THEN retry.due_at END,
       lease_until = '-infinity',
       errors      = CASE WHEN jsonb_array_length(m.errors) >= 10 THEN m.errors - 0
                          ELSE coalesce(m.errors, '[]') END
                     || jsonb_build_object('at', $4, 'delivery', m.deliveries, 'error', $3)
  FROM unnest($1, $2) AS retry (id, due_at)
 WHERE m.id = retry.id
