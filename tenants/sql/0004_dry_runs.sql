-- Dry runs: what a transaction would write, kept row by row while it runs, gone with its rollback.

ALTER TABLE dry_run_changes ADD COLUMN place bigint GENERATED ALWAYS AS IDENTITY;

-- Keep one written row. Only while app.dry_run is on: see the WHEN of the triggers.
CREATE FUNCTION note_dry_run() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dry_run_changes (tenant_id, id, table_name, operation, before, after)
    VALUES (CASE WHEN TG_OP = 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END, ulid_new(),
            TG_ARGV[0], lower(TG_OP),
            CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
            CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
    RETURN NULL;
END $$;

-- Watch every table of a tenant that is not watched yet; returns their names. Run after each
-- migrate, as the owner, so that no table is forgotten. What only says how a process works, or
-- holds what dry runs found, is no effect of anything.
CREATE FUNCTION watch_dry_runs() RETURNS SETOF text
    LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class AS c
        JOIN pg_attribute AS a
          ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
          AND c.relname NOT IN ('dry_run_changes', 'work_flights')
          AND NOT EXISTS (SELECT FROM pg_trigger AS t
                          WHERE t.tgrelid = c.oid AND t.tgname = 'zz_dry_run')
        ORDER BY c.relname
    LOOP
        EXECUTE format(
            'CREATE TRIGGER zz_dry_run AFTER INSERT OR UPDATE OR DELETE ON public.%I'
            ' FOR EACH ROW WHEN (current_setting(''app.dry_run'', true) = ''on'')'
            ' EXECUTE FUNCTION note_dry_run(%L)', name, name);
        RETURN NEXT name;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION watch_dry_runs() FROM PUBLIC;
