-- Deletes a page of the messages of a queue. One that another call has moved to another queue stays.
DELETE FROM pgqueue.message WHERE id = ANY ($2) AND queue = $1
