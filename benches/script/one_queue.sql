SELECT id FROM pgq_reserve('many 1');
