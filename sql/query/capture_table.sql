-- OFFSET 0: each row becomes JSON once, not wherever it is mentioned.
SELECT to_jsonb(t.*) AS doc FROM {table} AS t OFFSET 0
