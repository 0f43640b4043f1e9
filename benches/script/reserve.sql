SELECT count(pgq_release(id, delivery => delivery)) FROM pgq_reserve('flat');
