-- The rows of a transition table with their keys, and which of its key each is: key
-- columns need not be unique. (coalesce: a whole row, whatever its columns are called.)
SELECT doc, place, key, row_number() OVER (PARTITION BY key ORDER BY place) AS nth
  FROM (SELECT coalesce(t.*) AS doc, row_number() OVER () AS place, {key} AS key FROM {table} AS t) AS keyed
