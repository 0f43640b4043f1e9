-- Settled messages are kept for as long as their queue says.
SELECT pgq_create_queue('kept', '{"archive": "1 day"}');
SELECT array_agg(id) AS ids FROM pgq_push_batch('kept', ARRAY['1', '2', '3', '4', '5', '6', '7']::jsonb[], headers => array_fill('{"h": 1}'::jsonb, ARRAY[7]), priority => -2) AS id \gset
-- deleted, leased or not; popped; done with pgq_next; failed before
SELECT outcome FROM pgq_reserve('kept') m, pgq_fail(m.id, 'boom', m.delivery, '0');
SELECT payload, delivery FROM pgq_reserve('kept');
SELECT pgq_delete((:'ids'::bigint[])[1], 2) AS deleted;
SELECT count(*) FROM pgq_delete_batch((:'ids'::bigint[])[2:3]);
SELECT payload FROM pgq_pop('kept');
SELECT payload FROM pgq_next('kept', NULL);
SELECT payload FROM pgq_next('kept', (:'ids'::bigint[])[5:5], ARRAY[1]);
-- the last settled first
SELECT queue, payload, headers, priority, delivery, leased_until FROM pgq_peek('kept', 10, 'archived');
SELECT payload FROM pgq_peek('kept', 1, 'archived');
SELECT g.state, g.payload, g.headers, g.priority, g.delivery, g.settled_at > g.enqueued_at AS later, g.died_at,
       jsonb_path_query_array(g.errors, '$[*].error') AS errors
  FROM unnest((:'ids'::bigint[])[1:2]) id, pgq_get(id) g;
-- an archived message is over for every other call
SELECT pgq_delete((:'ids'::bigint[])[1]), pgq_release((:'ids'::bigint[])[1]), pgq_bury((:'ids'::bigint[])[1], 'x');
SELECT ready, leased, total, deleted FROM pgq_stats('kept');
-- what is rolled back was not settled
BEGIN;
SELECT pgq_delete((:'ids'::bigint[])[7]) AS deleted;
SELECT payload FROM pgq_peek('kept', 1, 'archived');
ROLLBACK;
SELECT payload FROM pgq_peek('kept', 1, 'archived');
-- what dies, or is purged, was not settled
SELECT pgq_bury((:'ids'::bigint[])[6], 'x') AS buried, pgq_purge('kept', 'ready');
SELECT count(*) FROM pgq_peek('kept', 10, 'archived');
-- bytes, out of line too, and a payload that is
SELECT pgq_push_bytes('kept', string_agg(decode(md5(n::text), 'hex'), '' ORDER BY n)) AS body FROM generate_series(1, 2000) n \gset
SELECT pgq_push('kept', to_jsonb(string_agg(md5(n::text), '' ORDER BY n))) AS payload FROM generate_series(1, 2000) n \gset
SELECT md5(body) AS body, md5(payload::text) AS payload FROM pgq_pop('kept', 2);
SELECT md5(body) AS body, md5(payload::text) AS payload FROM pgq_peek('kept', 2, 'archived') ORDER BY id;
-- the worker drops what was kept long enough
SELECT archive_dropped FROM pgq_vacuum();
UPDATE pgqueue.archive SET settled_at = settled_at - '25 h'::interval WHERE id = ANY ((:'ids'::bigint[])[1:3]);
SELECT archive_dropped FROM pgq_vacuum();
SELECT archive_dropped FROM pgq_vacuum();
SELECT payload FROM pgq_peek('kept', 10, 'archived') WHERE body IS NULL AND length(payload::text) < 9;
-- a queue that keeps none any more keeps nothing
SELECT pgq_alter_queue('kept', '{"archive": null}');
SELECT pgq_push('kept', '8') IS NOT NULL AS pushed;
SELECT payload FROM pgq_pop('kept');
SELECT archive_dropped FROM pgq_vacuum();
SELECT count(*) FROM pgqueue.archive;
-- purging and dropping take the archive along; a queue that is gone keeps nothing
SELECT pgq_alter_queue('kept', '{"archive": "1 day"}');
SELECT count(*) FROM pgq_push_batch('kept', ARRAY['1', '2', '3']::jsonb[]);
SELECT count(*) FROM pgq_pop('kept', 2);
SELECT pgq_purge('kept', 'archived'), pgq_purge('kept', 'archived');
SELECT payload FROM pgq_pop('kept');
SELECT pgq_purge('kept');
SELECT pgq_push('kept', '4') IS NOT NULL AS pushed;
SELECT payload FROM pgq_pop('kept');
SELECT pgq_drop_queue('kept');
SELECT count(*) FROM pgqueue.archive;
