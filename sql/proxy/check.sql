-- Checks of what cannot be done because it concerns several partitions: there is no
-- transaction over them. Each returns true or raises. What is no queue, or no message, they
-- leave to the partition, which says so.

CREATE OR REPLACE FUNCTION pgqueue_proxy.refuse(problem text)
    RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', problem
        USING ERRCODE = 'feature_not_supported',
              HINT = 'Queues with the same part of their names in braces, as "{shop} orders" and "{shop} events", are on one partition.';
END $$;
COMMENT ON FUNCTION pgqueue_proxy.refuse(text) IS 'raises that something concerns several partitions';

CREATE OR REPLACE FUNCTION pgqueue_proxy.is_one(place integer, other integer)
    RETURNS boolean LANGUAGE sql STABLE
    RETURN (place # other) & (pgqueue_proxy.partitions() - 1) = 0;
COMMENT ON FUNCTION pgqueue_proxy.is_one(integer, integer) IS 'whether two hashes or numbers mean one partition';

CREATE OR REPLACE FUNCTION pgqueue_proxy.same_partition(queue text, other text)
    RETURNS boolean LANGUAGE sql VOLATILE
    RETURN coalesce(queue, '') = '' OR coalesce(other, '') = ''
        OR pgqueue_proxy.is_one(pgqueue_proxy.of_queue(queue), pgqueue_proxy.of_queue(other))
        OR pgqueue_proxy.refuse(format('queue "%s" is on another partition than queue "%s"', other, queue));
COMMENT ON FUNCTION pgqueue_proxy.same_partition(text, text) IS 'that another queue, if one is given, is on the partition of the queue';

CREATE OR REPLACE FUNCTION pgqueue_proxy.with_events(queue text, settings jsonb)
    RETURNS boolean LANGUAGE sql VOLATILE
    RETURN pgqueue_proxy.same_partition(queue, CASE jsonb_typeof(settings -> 'events_to') WHEN 'string' THEN settings ->> 'events_to' END);
COMMENT ON FUNCTION pgqueue_proxy.with_events(text, jsonb) IS 'that events go to a queue on the partition of the queue';

CREATE OR REPLACE FUNCTION pgqueue_proxy.with_queue(queue text, ids bigint[])
    RETURNS boolean LANGUAGE sql VOLATILE
    RETURN coalesce(queue, '') = '' OR pgqueue_proxy.has_null(ids)
        OR NOT EXISTS (SELECT FROM unnest(ids) AS id
                        WHERE id > 0 AND NOT pgqueue_proxy.is_one(pgqueue_proxy.of_queue(queue), pgqueue_proxy.of_id(id)))
        OR pgqueue_proxy.refuse(format('some of the messages are on another partition than queue "%s"', queue));
COMMENT ON FUNCTION pgqueue_proxy.with_queue(text, bigint[]) IS 'that messages are on the partition of a queue';

CREATE OR REPLACE FUNCTION pgqueue_proxy.all_or_none(strict boolean, ids bigint[])
    RETURNS boolean LANGUAGE sql VOLATILE
    RETURN strict IS NOT TRUE
        OR pgqueue_proxy.has_null(ids)
        OR pgqueue_proxy.are_on_one(ids)
        OR pgqueue_proxy.refuse('a strict call is for messages of one partition');
COMMENT ON FUNCTION pgqueue_proxy.all_or_none(boolean, bigint[]) IS 'that a call is not strict, or its messages are on one partition';

CREATE OR REPLACE FUNCTION pgqueue_proxy.name_is_free(name text, queue text)
    RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    elsewhere text;
BEGIN
    SELECT s.queue INTO elsewhere
      FROM pgqueue_proxy.pgq_list_schedules() s
     WHERE s.name = name_is_free.name
       AND NOT pgqueue_proxy.is_one(pgqueue_proxy.of_queue(s.queue), pgqueue_proxy.of_queue(name_is_free.queue));
    RETURN elsewhere IS NULL
        OR pgqueue_proxy.refuse(format('schedule "%s" pushes into queue "%s", which is on another partition', name, elsewhere));
END $$;
COMMENT ON FUNCTION pgqueue_proxy.name_is_free(text, text) IS 'that no schedule of this name is on another partition';

-- Up to 0.2, a role was a number here.
DROP FUNCTION IF EXISTS pgqueue_proxy.role_is_here(regrole);
