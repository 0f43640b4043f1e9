-- What an UPDATE has made of its rows. A key that is only in one of the tables is the
-- end of one row or the beginning of another. (A row IS NOT NULL only if none of its columns is.)
SELECT o.doc AS old, n.doc AS new
  FROM ({old}) AS o
  FULL JOIN ({new}) AS n ON n.key = o.key AND n.nth = o.nth
 ORDER BY coalesce(n.place, o.place), n.place IS NOT NULL
