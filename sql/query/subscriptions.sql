-- The queues that are subscribed to the topic $1, each with its patterns.
SELECT queue, pattern FROM pgqueue.subscription WHERE topic = $1
