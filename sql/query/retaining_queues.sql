SELECT id FROM pgqueue.queue WHERE settings ? 'dead_retention'
