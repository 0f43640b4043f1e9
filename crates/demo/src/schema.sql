-- The demo's tables, and its first producer: a trigger.

CREATE TABLE package (
    name      text    PRIMARY KEY,
    version   text    NOT NULL,
    files     int     NOT NULL,
    essential boolean NOT NULL
);

-- The primary key makes "each package audited once" a rule of the database: a
-- message worked on twice would be an error here, not a second row.
CREATE TABLE audit (
    package     text        PRIMARY KEY,
    delivery    bigint      NOT NULL,
    files       int         NOT NULL,
    missing     int         NOT NULL,
    altered     int         NOT NULL,
    unread      int         NOT NULL,
    enqueued_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION push_package() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pgq_push('audit', jsonb_build_object('package', new.name));
    RETURN NULL;
END
$$;

-- Essential packages are pushed by the second producer, as one urgent batch.
CREATE TRIGGER push_package AFTER INSERT ON package
    FOR EACH ROW WHEN (NOT new.essential) EXECUTE FUNCTION push_package();
