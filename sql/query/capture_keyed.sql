-- Rows of a transition table with their keys. Key columns need not be unique, so nth numbers the rows of a
-- key. (coalesce gives the whole row, whatever the names of its columns.)
SELECT doc, place, key, row_number() OVER (PARTITION BY key ORDER BY place) AS nth
  FROM (SELECT coalesce(t.*) AS doc, row_number() OVER () AS place, {key} AS key FROM {table} AS t) AS keyed
