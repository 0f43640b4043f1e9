-- What an UPDATE has made of its rows. A key that is only in one of the tables is the
-- end of one row or the beginning of another.
SELECT o.doc AS old, n.doc AS new
  FROM ({old}) AS o
  FULL JOIN ({new}) AS n ON n.key = o.key AND n.nth = o.nth
 ORDER BY coalesce(n.place, o.place), n.doc IS NOT NULL
