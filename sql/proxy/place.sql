-- Where things are: the partition of a queue, of an id, of a set of ids. PL/Proxy takes the
-- lowest bits of what these functions return; the number of partitions is a power of two.

CREATE OR REPLACE FUNCTION pgqueue_proxy.partitions()
    RETURNS integer LANGUAGE sql STABLE
    RETURN (SELECT count(*)::integer
              FROM pg_catalog.pg_foreign_server, unnest(srvoptions) AS option
             WHERE srvname = 'pgqueue' AND option ~ '^p\d+=');
COMMENT ON FUNCTION pgqueue_proxy.partitions() IS 'how many partitions there are';

-- SHA-256, because it is the same on every machine and in every version. A null or an empty
-- name goes anywhere: it is the partition that refuses it.
CREATE OR REPLACE FUNCTION pgqueue_proxy.of_queue(queue text)
    RETURNS integer LANGUAGE sql STABLE
    RETURN coalesce(get_byte(sha256(convert_to(coalesce(substring(queue FROM '\{([^}]+)\}'), queue), 'UTF8')), 0), 0);
COMMENT ON FUNCTION pgqueue_proxy.of_queue(text)
    IS 'hash of the queue''s name, or of what stands in braces in it, 0 to 255; its lowest bits are the partition';

CREATE OR REPLACE FUNCTION pgqueue_proxy.of_queue_or_all(queue text)
    RETURNS SETOF integer LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT pgqueue_proxy.of_queue(queue) WHERE queue IS NOT NULL
     UNION ALL
    SELECT generate_series(0, pgqueue_proxy.partitions() - 1) WHERE queue IS NULL;
END;
COMMENT ON FUNCTION pgqueue_proxy.of_queue_or_all(text) IS 'the partition of a queue; all of them for null';

CREATE OR REPLACE FUNCTION pgqueue_proxy.of_id(id bigint)
    RETURNS integer LANGUAGE sql IMMUTABLE
    RETURN coalesce(id / 10000000000000, 0)::integer;
COMMENT ON FUNCTION pgqueue_proxy.of_id(bigint) IS 'the partition of a message';

CREATE OR REPLACE FUNCTION pgqueue_proxy.of_ids(ids bigint[])
    RETURNS integer LANGUAGE sql IMMUTABLE
    RETURN pgqueue_proxy.of_id(ids[array_lower(ids, 1)]);
COMMENT ON FUNCTION pgqueue_proxy.of_ids(bigint[]) IS 'the partition of messages that are all on one';

CREATE OR REPLACE FUNCTION pgqueue_proxy.are_on_one(ids bigint[])
    RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN (SELECT count(DISTINCT pgqueue_proxy.of_id(id)) < 2 FROM unnest(ids) AS id);
COMMENT ON FUNCTION pgqueue_proxy.are_on_one(bigint[]) IS 'whether all messages are on one partition';

CREATE OR REPLACE FUNCTION pgqueue_proxy.has_null(list bigint[])
    RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN EXISTS (SELECT FROM unnest(list) AS element WHERE element IS NULL);
COMMENT ON FUNCTION pgqueue_proxy.has_null(bigint[]) IS 'whether an array, of however many dimensions, has a null in it';

-- A text that is no receipt goes anywhere: it is the partition that refuses it.
CREATE OR REPLACE FUNCTION pgqueue_proxy.id_of(receipt text)
    RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN receipt ~ '^[0-9]{1,18}-' THEN split_part(receipt, '-', 1)::bigint END;
COMMENT ON FUNCTION pgqueue_proxy.id_of(text) IS 'the message of a receipt; null if it is none';

CREATE OR REPLACE FUNCTION pgqueue_proxy.ids_of(receipts text[])
    RETURNS bigint[] LANGUAGE sql IMMUTABLE
    RETURN (SELECT array_agg(pgqueue_proxy.id_of(receipt)) FROM unnest(receipts) AS receipt);
COMMENT ON FUNCTION pgqueue_proxy.ids_of(text[]) IS 'the messages of receipts';

CREATE OR REPLACE FUNCTION pgqueue_proxy.of_receipt(receipt text)
    RETURNS integer LANGUAGE sql IMMUTABLE
    RETURN pgqueue_proxy.of_id(pgqueue_proxy.id_of(receipt));
COMMENT ON FUNCTION pgqueue_proxy.of_receipt(text) IS 'the partition of the message of a receipt';

CREATE OR REPLACE FUNCTION pgqueue_proxy.of_receipts(receipts text[])
    RETURNS integer LANGUAGE sql IMMUTABLE
    RETURN pgqueue_proxy.of_receipt(receipts[array_lower(receipts, 1)]);
COMMENT ON FUNCTION pgqueue_proxy.of_receipts(text[]) IS 'the partition of receipts that are all on one';

-- Up to 0.2, deliveries were integers.
DROP FUNCTION IF EXISTS pgqueue_proxy.by_partition(bigint[], integer[]);

-- Arrays that make no receipts (nulls, unequal lengths) stay as they are: the partition says
-- what is wrong with them.
CREATE OR REPLACE FUNCTION pgqueue_proxy.by_partition(INOUT ids bigint[], INOUT deliveries bigint[] DEFAULT NULL)
    RETURNS SETOF record LANGUAGE plpgsql IMMUTABLE ROWS 1 AS $$
BEGIN
    IF pgqueue_proxy.are_on_one(ids) OR array_ndims(ids) > 1 OR array_ndims(deliveries) > 1
        OR pgqueue_proxy.has_null(ids) OR pgqueue_proxy.has_null(deliveries)
        OR cardinality(deliveries) <> cardinality(ids)
    THEN
        RETURN NEXT;
    ELSE
        RETURN QUERY
        SELECT array_agg(receipt.id),
               CASE WHEN deliveries IS NOT NULL THEN array_agg(receipt.delivery) END
          FROM unnest(ids, deliveries) AS receipt(id, delivery)
         GROUP BY pgqueue_proxy.of_id(receipt.id)
         ORDER BY pgqueue_proxy.of_id(receipt.id);
    END IF;
END $$;
COMMENT ON FUNCTION pgqueue_proxy.by_partition(bigint[], bigint[]) IS 'receipts, a row a partition';

-- Arrays in which a text is no receipt stay as they are, too.
CREATE OR REPLACE FUNCTION pgqueue_proxy.by_partition(receipts text[])
    RETURNS SETOF text[] LANGUAGE plpgsql IMMUTABLE ROWS 1 AS $$
BEGIN
    IF pgqueue_proxy.are_on_one(pgqueue_proxy.ids_of(receipts)) OR array_ndims(receipts) > 1
        OR EXISTS (SELECT FROM unnest(receipts) AS receipt WHERE receipt !~ '^\d+-\d+$' OR receipt IS NULL)
    THEN
        RETURN NEXT receipts;
    ELSE
        RETURN QUERY
        SELECT array_agg(receipt)
          FROM unnest(receipts) AS receipt
         GROUP BY pgqueue_proxy.of_receipt(receipt)
         ORDER BY pgqueue_proxy.of_receipt(receipt);
    END IF;
END $$;
COMMENT ON FUNCTION pgqueue_proxy.by_partition(text[]) IS 'receipts, a row a partition';
