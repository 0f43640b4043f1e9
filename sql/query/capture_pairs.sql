-- Pairs of old and new rows of an UPDATE. A key in only one of the tables is the end of a row or the
-- beginning of one. (A row IS NOT NULL only if none of its columns is null.)
SELECT o.doc AS old, n.doc AS new
  FROM ({old}) AS o
  FULL JOIN ({new}) AS n ON n.key = o.key AND n.nth = o.nth
 ORDER BY coalesce(n.place, o.place), n.place IS NOT NULL
