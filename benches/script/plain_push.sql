SELECT pgq_push('plain', '1');
