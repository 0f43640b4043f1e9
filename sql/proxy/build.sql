-- Building the functions of the proxy, with the names, parameters, defaults, results and
-- comments that they have on the partitions.
--
-- There are three of each. Those in the schema pgqueue_proxy are PL/Proxy's and run on one
-- partition, or on all. The one that users call stands before them: it checks, gives each
-- partition its part of an array, holds the rows until all are there (PL/Proxy drops the rest
-- of a set when it is called again in the same SELECT list), and says what a lost connection
-- means. Values travel as text, and have to be written as partitions read them: so one of
-- PL/Proxy's two is for sessions that write dates or intervals otherwise.
--
-- A call for one queue costs little beside the remote call: its partition is an expression in
-- the function that users call, not a statement of PL/Proxy's own.

CREATE TABLE IF NOT EXISTS pgqueue_proxy.built (
    number    integer GENERATED ALWAYS AS IDENTITY,
    kind      text NOT NULL,
    object    text NOT NULL,
    comment   text,
    statement text NOT NULL
);
COMMENT ON TABLE pgqueue_proxy.built IS 'what pgqueue_proxy.build() has made, and how';

CREATE OR REPLACE FUNCTION pgqueue_proxy.explain_failure(problem text)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF problem ~ '\] (PQ\w+:|REMOTE \(null\))|: (connect|query) timeout' THEN
        RAISE EXCEPTION '%', problem
            USING ERRCODE = 'connection_failure',
                  DETAIL = 'If the call had been sent, it may have been carried out or not.',
                  HINT = 'The queues of this partition can be used when it is back; those of others can be used now.';
    END IF;
END $$;
COMMENT ON FUNCTION pgqueue_proxy.explain_failure(text)
    IS 'raises 08006 for what PL/Proxy calls an internal error, if it is one of the connection';

-- That everybody is on the partitions who he is here, and that what they write is read as they
-- meant it, whatever their roles have set there.
CREATE OR REPLACE FUNCTION pgqueue_proxy.check_addresses()
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    address text;
BEGIN
    FOR address IN SELECT option FROM pg_catalog.pg_foreign_server, unnest(srvoptions) AS option
                    WHERE srvname = 'pgqueue' AND option ~ '^p\d+=' LOOP
        IF address ~* '\muser\s*=|=\s*postgres(ql)?://' THEN
            RAISE EXCEPTION 'a connection string of the server "pgqueue" names a user, or is a URI'
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Everybody would be that user; name users in user mappings.';
        ELSIF address !~* 'DateStyle=ISO' OR address !~* 'IntervalStyle=postgres' THEN
            RAISE EXCEPTION 'a connection string of the server "pgqueue" does not say how dates and intervals are written'
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Add options=-cDateStyle=ISO\ -cIntervalStyle=postgres to it.';
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION pgqueue_proxy.check_addresses() IS 'raises if a connection string of the partitions is not good';

CREATE OR REPLACE FUNCTION pgqueue_proxy.addresses_changed()
    RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pgqueue_proxy.check_addresses();
END $$;
COMMENT ON FUNCTION pgqueue_proxy.addresses_changed() IS 'checks connection strings when they are written';

DROP EVENT TRIGGER IF EXISTS pgqueue_proxy;
CREATE EVENT TRIGGER pgqueue_proxy ON ddl_command_end WHEN TAG IN ('CREATE SERVER', 'ALTER SERVER')
    EXECUTE FUNCTION pgqueue_proxy.addresses_changed();
COMMENT ON EVENT TRIGGER pgqueue_proxy IS 'checks connection strings of partitions when they are written';

-- A role with USAGE on a server may change its own user mapping. It could name any user there, and would be that one
-- on the partitions if they let this server in without a password, as they may let its operating system's user.
CREATE OR REPLACE FUNCTION pgqueue_proxy.mapping_changed()
    RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    servers text[];
BEGIN
    IF TG_EVENT = 'sql_drop' THEN
        servers := ARRAY(SELECT address_args[1] FROM pg_event_trigger_dropped_objects() WHERE object_type = 'user mapping');
    ELSE
        servers := ARRAY(SELECT m.srvname
                           FROM pg_event_trigger_ddl_commands() c
                           JOIN pg_user_mappings m ON c.classid = 'pg_user_mapping'::regclass AND m.umid = c.objid);
    END IF;
    IF EXISTS (SELECT FROM pg_foreign_server
                WHERE srvname = 'pgqueue' AND srvname = ANY (servers) AND NOT pg_has_role(srvowner, 'USAGE')) THEN
        RAISE EXCEPTION 'permission denied for user mappings of the server "pgqueue"'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Its owner makes and changes them.';
    END IF;
END $$;
COMMENT ON FUNCTION pgqueue_proxy.mapping_changed() IS 'lets the owner of the server "pgqueue" alone write its user mappings';

DROP EVENT TRIGGER IF EXISTS pgqueue_proxy_mapping;
CREATE EVENT TRIGGER pgqueue_proxy_mapping ON ddl_command_end WHEN TAG IN ('CREATE USER MAPPING', 'ALTER USER MAPPING')
    EXECUTE FUNCTION pgqueue_proxy.mapping_changed();
COMMENT ON EVENT TRIGGER pgqueue_proxy_mapping IS 'lets the owner of the server "pgqueue" alone write its user mappings';
DROP EVENT TRIGGER IF EXISTS pgqueue_proxy_mapping_dropped;
CREATE EVENT TRIGGER pgqueue_proxy_mapping_dropped ON sql_drop WHEN TAG IN ('DROP USER MAPPING')
    EXECUTE FUNCTION pgqueue_proxy.mapping_changed();
COMMENT ON EVENT TRIGGER pgqueue_proxy_mapping_dropped IS 'lets the owner of the server "pgqueue" alone drop its user mappings';

-- Where the extension's functions are on the partitions, if those are what they should be.
CREATE OR REPLACE FUNCTION pgqueue_proxy.checked_schema()
    RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    first record;
    found record;
BEGIN
    PERFORM pgqueue_proxy.check_addresses();
    SELECT * INTO STRICT first FROM pgqueue_proxy.remote_partition(0);
    IF quote_ident(first.schema) <> first.schema THEN
        RAISE EXCEPTION 'the schema of pgqueue on the partitions needs quotes: %', quote_ident(first.schema)
            USING ERRCODE = 'feature_not_supported', HINT = 'PL/Proxy does not read names in quotes.';
    END IF;
    FOR place IN 0 .. pgqueue_proxy.partitions() - 1 LOOP
        SELECT * INTO STRICT found FROM pgqueue_proxy.remote_partition(place);
        IF found.number <> place THEN
            RAISE EXCEPTION 'p% leads to partition %', place, found.number
                USING ERRCODE = 'invalid_parameter_value', HINT = 'See the options of the server "pgqueue", and partition.sql.';
        ELSIF (found.version, found.schema) <> (first.version, first.schema) THEN
            RAISE EXCEPTION 'partition % has pgqueue % in schema %, and partition 0 has % in schema %',
                    place, found.version, found.schema, first.version, first.schema
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Update the extension on all partitions.';
        END IF;
    END LOOP;
    RETURN first.schema;
END $$;
COMMENT ON FUNCTION pgqueue_proxy.checked_schema() IS 'the schema of the extension on the partitions';

CREATE OR REPLACE FUNCTION pgqueue_proxy.make(kind text, object text, comment text, statement text)
    RETURNS void LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO pgqueue_proxy.built (kind, object, comment, statement) VALUES (kind, object, comment, statement);
END;
COMMENT ON FUNCTION pgqueue_proxy.make(text, text, text, text) IS 'notes an object that is to be there';

CREATE OR REPLACE FUNCTION pgqueue_proxy.is_made_again(old pgqueue_proxy.built, last integer)
    RETURNS boolean LANGUAGE sql STABLE
    RETURN EXISTS (SELECT FROM pgqueue_proxy.built new
                    WHERE new.number > last
                      AND (new.kind, new.object, new.comment, new.statement)
                          IS NOT DISTINCT FROM (old.kind, old.object, old.comment, old.statement));
COMMENT ON FUNCTION pgqueue_proxy.is_made_again(pgqueue_proxy.built, integer) IS 'whether an object is to be there as it is';

-- Objects that are there, which were noted up to the number `last`, give way to those noted since.
-- What is to be as it is stays: others may use it, or have been given privileges on it. But when a
-- type or a view changes, or what it needs, all functions are made anew.
CREATE OR REPLACE FUNCTION pgqueue_proxy.replace_built(last integer)
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    all_anew CONSTANT boolean := EXISTS (SELECT FROM pgqueue_proxy.built old
        WHERE number <= last AND kind <> 'FUNCTION' AND NOT pgqueue_proxy.is_made_again(old, last));
    item record;
BEGIN
    FOR item IN SELECT * FROM pgqueue_proxy.built old
                 WHERE number <= last AND (all_anew OR NOT pgqueue_proxy.is_made_again(old, last))
                 ORDER BY number DESC LOOP
        EXECUTE format('DROP %s IF EXISTS %s', item.kind, item.object);
        DELETE FROM pgqueue_proxy.built WHERE number = item.number;
    END LOOP;
    FOR item IN SELECT * FROM pgqueue_proxy.built new
                 WHERE number > last
                   AND NOT EXISTS (SELECT FROM pgqueue_proxy.built old
                                    WHERE old.number <= last AND (old.kind, old.object) = (new.kind, new.object))
                 ORDER BY number LOOP
        EXECUTE item.statement;
        EXECUTE format('COMMENT ON %s %s IS %L', item.kind, item.object, item.comment);
    END LOOP;
    DELETE FROM pgqueue_proxy.built WHERE number <= last;
END $$;
COMMENT ON FUNCTION pgqueue_proxy.replace_built(integer) IS 'makes what was noted, and removes what was there before';

CREATE OR REPLACE FUNCTION pgqueue_proxy.make_rows(schema text, made record)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT made.is_view THEN
        PERFORM pgqueue_proxy.make('TYPE', format('%I.%I', schema, made.name), made.comment,
            format('CREATE TYPE %I.%I AS (%s)', schema, made.name, made.columns));
        RETURN;
    END IF;
    PERFORM pgqueue_proxy.make('ROUTINE', format('pgqueue_proxy.%I()', made.name), 'the rows of that view on all partitions',
        format('CREATE FUNCTION pgqueue_proxy.%I() RETURNS TABLE (%s) LANGUAGE plproxy AS %L',
               made.name, made.columns, format('CLUSTER ''pgqueue''; RUN ON ALL; SELECT * FROM %I.%I;', schema, made.name)));
    PERFORM pgqueue_proxy.make('VIEW', format('%I.%I', schema, made.name), made.comment,
        -- What a role may see, its partitions decide.
        format('CREATE VIEW %1$I.%2$I AS SELECT * FROM pgqueue_proxy.%2$I(); GRANT SELECT ON %1$I.%2$I TO PUBLIC', schema, made.name));
END $$;
COMMENT ON FUNCTION pgqueue_proxy.make_rows(text, record) IS 'makes a composite type, or a view over all partitions';

CREATE OR REPLACE FUNCTION pgqueue_proxy.writes_iso()
    RETURNS boolean LANGUAGE sql STABLE
    RETURN current_setting('DateStyle') ^@ 'ISO' AND current_setting('IntervalStyle') = 'postgres';
COMMENT ON FUNCTION pgqueue_proxy.writes_iso() IS 'whether the session writes dates and intervals as partitions read them';

CREATE OR REPLACE FUNCTION pgqueue_proxy.is_for_one(route record)
    RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN route.run_on ~ '^(of_queue|of_ids?|of_receipts?)\(';
END $$;
COMMENT ON FUNCTION pgqueue_proxy.is_for_one(record) IS 'whether a call runs on one partition, which it is given as a first argument';

CREATE OR REPLACE FUNCTION pgqueue_proxy.remote_call(fn record, route record, name text, arguments text[])
    RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    remote CONSTANT text := format('pgqueue_proxy.%I(%s)', name, array_to_string(arguments, ', '));
BEGIN
    IF route.run_on = 'of_ids(ids)' THEN
        RETURN format('RETURN QUERY SELECT r.* FROM pgqueue_proxy.by_partition(ids%s) AS share, %s AS r;',
                      CASE WHEN 'deliveries' = ANY (fn.parameters) THEN ', deliveries' END, remote);
    ELSIF route.run_on = 'of_receipts(receipts)' THEN
        RETURN format('RETURN QUERY SELECT r.* FROM pgqueue_proxy.by_partition(receipts) AS share(receipts), %s AS r;', remote);
    ELSIF fn.result ~ '^(SETOF|TABLE)' THEN
        RETURN format('RETURN QUERY SELECT * FROM %s;', remote);
    ELSIF route.run_on = 'ALL' THEN
        RETURN format('RETURN (SELECT %s FROM %s AS r);',
                      CASE fn.result WHEN 'boolean' THEN 'coalesce(bool_or(r), false)' ELSE 'sum(r)' END, remote);
    ELSE
        RETURN format('RETURN %s;', remote);
    END IF;
END $$;
COMMENT ON FUNCTION pgqueue_proxy.remote_call(record, record, text, text[]) IS 'the statement that calls a function of PL/Proxy';

-- What a function does that users call, in PL/pgSQL.
CREATE OR REPLACE FUNCTION pgqueue_proxy.body(fn record, route record)
    RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    numbers text[] := ARRAY(SELECT '$' || n FROM generate_subscripts(fn.parameters, 1) AS n ORDER BY n);
BEGIN
    IF route.run_on IS NULL THEN
        RETURN format('RAISE EXCEPTION %L USING ERRCODE = ''feature_not_supported'', HINT = %L;',
                      format('%s is not to be had through a proxy: %s', fn.name, route.note),
                      'Connect to the partition of the queue: pgq_shard(queue) says where it is.');
    END IF;
    IF route.run_on IN ('of_ids(ids)', 'of_receipts(receipts)') THEN
        FOR n IN 1 .. cardinality(numbers) LOOP
            IF fn.parameters[n] IN ('ids', 'deliveries', 'receipts') THEN
                numbers[n] := 'share.' || fn.parameters[n];
            END IF;
        END LOOP;
    END IF;
    IF pgqueue_proxy.is_for_one(route) THEN
        numbers := CASE route.run_on WHEN 'of_ids(ids)' THEN 'pgqueue_proxy.of_ids(share.ids)'
                                     WHEN 'of_receipts(receipts)' THEN 'pgqueue_proxy.of_receipts(share.receipts)'
                                     ELSE 'pgqueue_proxy.' || route.run_on END || numbers;
    END IF;
    RETURN format(E'IF pgqueue_proxy.writes_iso() THEN\n        %s\n    ELSE\n        %s\n    END IF;',
                  pgqueue_proxy.remote_call(fn, route, fn.name, numbers),
                  pgqueue_proxy.remote_call(fn, route, fn.name || '_iso', numbers));
END $$;
COMMENT ON FUNCTION pgqueue_proxy.body(record, record) IS 'the statement of a function that users call';

-- PL/Proxy's function. On one partition, its first argument is the partition.
CREATE OR REPLACE FUNCTION pgqueue_proxy.make_remote(schema text, fn record, route record, name text, styles text)
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    for_one  CONSTANT boolean := pgqueue_proxy.is_for_one(route);
    of_all   CONSTANT text := CASE WHEN route.run_on = 'ALL' AND fn.result !~ '^(SETOF|TABLE)' THEN 'SETOF ' END;
    place    CONSTANT text := CASE WHEN for_one THEN concat_ws(', ', 'partition integer', nullif(fn.signature, '')) ELSE fn.signature END;
    values   CONSTANT text := (SELECT string_agg(format('$%s::%s', n + 1, type), ', ' ORDER BY n)
                                 FROM unnest(fn.types) WITH ORDINALITY AS t(type, n));
    is_set   CONSTANT boolean := fn.result ~ '^(SETOF|TABLE)';
    run      CONSTANT text := CASE
        WHEN for_one THEN format('RUN ON $1; SELECT %s%I.%I(%s);', CASE WHEN is_set THEN '* FROM ' END, schema, fn.name, values)
        ELSE format('RUN ON %s; TARGET %I.%I;', CASE route.run_on WHEN 'ALL' THEN 'ALL' ELSE 'pgqueue_proxy.' || route.run_on END,
                    schema, fn.name) END;
BEGIN
    PERFORM pgqueue_proxy.make('FUNCTION', format('pgqueue_proxy.%I(%s)', name, place), fn.comment,
        format('CREATE FUNCTION pgqueue_proxy.%I(%s) RETURNS %s%s LANGUAGE plproxy%s AS %L',
               name, place, of_all, fn.result, styles, format('CLUSTER ''pgqueue''; %s', run)));
END $$;
COMMENT ON FUNCTION pgqueue_proxy.make_remote(text, record, record, text, text) IS 'makes the function of PL/Proxy that calls one of the partitions';

CREATE OR REPLACE FUNCTION pgqueue_proxy.make_function(schema text, fn record, route record)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF route.run_on IS NOT NULL THEN
        PERFORM pgqueue_proxy.make_remote(schema, fn, route, fn.name, '');
        PERFORM pgqueue_proxy.make_remote(schema, fn, route, fn.name || '_iso', ' SET DateStyle = ISO SET IntervalStyle = postgres');
    END IF;
    PERFORM pgqueue_proxy.make('FUNCTION', format('%I.%I(%s)', schema, fn.name, fn.signature), fn.comment,
        format('CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
               schema, fn.name, fn.arguments, fn.result,
               format(E'BEGIN\n%s%s\nEXCEPTION WHEN internal_error THEN\n    PERFORM pgqueue_proxy.explain_failure(SQLERRM);\n    RAISE;\nEND',
                      '    PERFORM pgqueue_proxy.' || route.before || E';\n', '    ' || pgqueue_proxy.body(fn, route))));
END $$;
COMMENT ON FUNCTION pgqueue_proxy.make_function(text, record, record) IS 'makes the functions that stand for one of the partitions';

CREATE OR REPLACE FUNCTION pgqueue_proxy.build()
    RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog SET client_min_messages = warning AS $$
DECLARE
    schema CONSTANT text := pgqueue_proxy.checked_schema();
    last   CONSTANT integer := (SELECT coalesce(max(number), 0) FROM pgqueue_proxy.built);
    made   record;
    fn     record;
    route  record;
BEGIN
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', schema);
    -- The partitions name their own types without a schema, or with this one.
    PERFORM set_config('search_path', format('%I, pg_catalog', schema), true);
    FOR made IN SELECT * FROM pgqueue_proxy.remote_rows() LOOP
        PERFORM pgqueue_proxy.make_rows(schema, made);
    END LOOP;
    FOR fn IN SELECT * FROM pgqueue_proxy.remote_functions() LOOP
        SELECT * INTO route FROM pgqueue_proxy.route r WHERE r.call = format('%s(%s)', fn.name, fn.parameters[1]);
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no route for %(%)', fn.name, fn.signature
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Use the scripts of the version of pgqueue that the partitions have.';
        ELSIF fn.result NOT IN ('procedure', 'trigger') THEN
            PERFORM pgqueue_proxy.make_function(schema, fn, route);
        END IF;
    END LOOP;
    PERFORM pgqueue_proxy.replace_built(last);
    RETURN schema;
END $$;
COMMENT ON FUNCTION pgqueue_proxy.build() IS 'makes the functions of the proxy as the partitions have them now, and returns their schema';
