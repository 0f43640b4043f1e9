-- An object of names and values; SQL's null is that of JSON.
SELECT coalesce(jsonb_object_agg(name, value), '{}') FROM unnest($1, $2) AS field (name, value)
