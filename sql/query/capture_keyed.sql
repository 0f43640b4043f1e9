-- The rows of a transition table with their keys, and which of its key each is: key
-- columns need not be unique.
SELECT doc, place, key, row_number() OVER (PARTITION BY key ORDER BY place) AS nth
  FROM (SELECT doc, row_number() OVER () AS place,
               (SELECT jsonb_object_agg(name, doc -> name) FROM unnest($2) AS k (name)) AS key
          FROM ({rows}) AS r) AS keyed
