-- Work that fails: flights that end with their work, and dead letters that are due again.

-- A process ends its flight in the transaction of the work. What would be checked at the commit is
-- checked here, while the process still holds its locks: a failure after they are gone would look
-- like a death to whoever takes the work next.
CREATE FUNCTION flight_end(owner uuid, flight uuid) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
    DELETE FROM work_flights AS f WHERE f.tenant_id = owner AND f.id = flight;
END $$;

-- A process whose transaction failed in good order takes its flight back, by a transaction of its
-- own and before its locks are gone.
CREATE FUNCTION flight_cancel(owner uuid, flight uuid) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', owner::text, true),
            set_config('synchronous_commit', 'off', true);
    DELETE FROM work_flights AS f WHERE f.tenant_id = owner AND f.id = flight;
END $$;

-- Tenants with dead letters of a stage that the machine may try again now. As the owner, since it
-- looks across tenants; ids only.
CREATE FUNCTION tenants_with_letters(wanted text) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id FROM public.tenants AS t
    WHERE EXISTS (SELECT FROM public.dead_letters AS d
                  WHERE d.tenant_id = t.id AND d.status = 'open' AND d.stage = wanted
                    AND d.retry_after IS NOT NULL AND d.retry_after <= clock_timestamp())
$$;
REVOKE ALL ON FUNCTION tenants_with_letters(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenants_with_letters(text) TO fairlead_app;

-- Tenants with a large selection of work that is being acted on, chunk by chunk. As the owner; ids
-- only.
CREATE INDEX pipeline_runs_bulk ON pipeline_runs (tenant_id, id)
    WHERE pipeline_name = 'bulk_work' AND status = 'running';
CREATE FUNCTION tenants_with_bulk_work() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id FROM public.tenants AS t
    WHERE EXISTS (SELECT FROM public.pipeline_runs AS r
                  WHERE r.tenant_id = t.id AND r.pipeline_name = 'bulk_work'
                    AND r.status = 'running')
$$;
REVOKE ALL ON FUNCTION tenants_with_bulk_work() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenants_with_bulk_work() TO fairlead_app;

-- A reason without what differs from row to row: rows withheld for one cause belong together.
CREATE FUNCTION cause_of(reason text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN regexp_replace(left(reason, 300), '\m(wh_[0-9A-Z]{26}|\+?[0-9]+)\M', '#', 'g');

CREATE INDEX webhook_work_discarded ON webhook_work (tenant_id, seq) WHERE state = 'discarded';
