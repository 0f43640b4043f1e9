-- A JSON object of names and values; an SQL null becomes a JSON null.
SELECT coalesce(jsonb_object_agg(name, value), '{}') FROM unnest($1, $2) AS field (name, value)
