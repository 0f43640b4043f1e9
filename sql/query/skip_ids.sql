SELECT setval('pgqueue.message_id', $1, false)
  FROM pg_sequence
 WHERE seqrelid = 'pgqueue.message_id'::regclass AND $1 <= seqmax
