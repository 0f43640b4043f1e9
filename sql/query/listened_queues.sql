-- The queues of which listeners want to hear.
SELECT id FROM pgqueue.queue WHERE settings ->> 'notify' <> 'false'
