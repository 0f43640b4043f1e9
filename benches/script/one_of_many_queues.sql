\set n random(1, 100000)
SELECT id FROM pgq_reserve('many ' || :n);
