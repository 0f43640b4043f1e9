SELECT to_jsonb(t.*) AS doc FROM {table} AS t
