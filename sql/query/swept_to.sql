SELECT swept_to FROM pgqueue.vacuum_run
