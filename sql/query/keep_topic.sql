-- Keeps the topic $1 from being dropped until the transaction ends. No row: it is gone.
SELECT true FROM pgqueue.topic WHERE id = $1 FOR KEY SHARE
