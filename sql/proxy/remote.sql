-- What the partitions are and have, read from their catalogs.

CREATE OR REPLACE FUNCTION pgqueue_proxy.remote_partition(place integer)
    RETURNS TABLE (number integer, version text, schema text) LANGUAGE plproxy AS $$
    CLUSTER 'pgqueue';
    RUN ON place;
    SELECT pgqueue_proxy.partition() AS number, extversion AS version, nspname::text AS schema
      FROM pg_catalog.pg_extension JOIN pg_catalog.pg_namespace n ON n.oid = extnamespace
     WHERE extname = 'pgqueue';
$$;
COMMENT ON FUNCTION pgqueue_proxy.remote_partition(integer) IS 'what is found where a partition should be';

-- Up to 0.2, there were no types in it.
DROP FUNCTION IF EXISTS pgqueue_proxy.remote_functions();
CREATE FUNCTION pgqueue_proxy.remote_functions()
    RETURNS TABLE (name text, parameters text[], types text[], arguments text, signature text, result text, comment text)
    LANGUAGE plproxy AS $$
    CLUSTER 'pgqueue';
    RUN ON 0;
    SELECT p.proname::text AS name,
           coalesce(p.proargnames[1:p.pronargs], '{}') AS parameters,
           ARRAY(SELECT format_type(t.type, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS t(type, n) ORDER BY n) AS types,
           pg_get_function_arguments(p.oid) AS arguments,
           pg_get_function_identity_arguments(p.oid) AS signature,
           coalesce(pg_get_function_result(p.oid), 'procedure') AS result,
           obj_description(p.oid, 'pg_proc') AS comment
      FROM pg_catalog.pg_extension e
      JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
      JOIN pg_catalog.pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
     WHERE e.extname = 'pgqueue' AND p.pronamespace = e.extnamespace
     ORDER BY p.oid;
$$;
COMMENT ON FUNCTION pgqueue_proxy.remote_functions() IS 'the functions of the extension on a partition';

CREATE OR REPLACE FUNCTION pgqueue_proxy.remote_rows()
    RETURNS TABLE (name text, is_view boolean, columns text, comment text) LANGUAGE plproxy AS $$
    CLUSTER 'pgqueue';
    RUN ON 0;
    SELECT c.relname::text AS name,
           c.relkind = 'v' AS is_view,
           (SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
              FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
           coalesce(obj_description(c.oid, 'pg_class'), obj_description(c.reltype, 'pg_type')) AS comment
      FROM pg_catalog.pg_extension e
      JOIN pg_catalog.pg_class c ON c.relnamespace = e.extnamespace AND c.relkind IN ('c', 'v')
     WHERE e.extname = 'pgqueue'
       AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.refobjid = e.oid AND d.deptype = 'e' AND d.objid IN (c.oid, c.reltype))
     ORDER BY c.oid;
$$;
COMMENT ON FUNCTION pgqueue_proxy.remote_rows() IS 'the composite types and views of the extension on a partition';
