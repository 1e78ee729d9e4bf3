-- Spools of web hosts: leases that say "empty until", and the question every sender asks.
-- A lease ends at an instant of this server's clock that the host chose before it sent the
-- statement, so a late or doubled statement never prolongs it beyond what the host counts on.

-- Register a host's spool, or one that starts again: from this commit on senders wait for it.
-- Returns the clock; NULL when a person retired it: it then needs a new id.
CREATE FUNCTION spool_register(host uuid, label text) RETURNS timestamptz
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO spool_hosts (id, name, clear_until, pending, heard_at, retired_by, reason)
    VALUES (host, left(label, 200), clock_timestamp(), 0, clock_timestamp(), '', '')
    ON CONFLICT (id) DO UPDATE
    SET name = excluded.name, heard_at = excluded.heard_at, stopped_at = NULL
    WHERE spool_hosts.retired_at IS NULL;
    RETURN CASE WHEN FOUND THEN clock_timestamp() END;
END $$;

-- Renew the lease of an empty spool. Not durable: a crash of the server only makes it end earlier.
-- Returns the clock; NULL when the host is not registered, or no longer.
CREATE FUNCTION spool_renew(host uuid, until timestamptz) RETURNS timestamptz
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE spool_hosts
    SET clear_until = until, pending = 0, oldest_at = NULL, heard_at = clock_timestamp()
    WHERE id = host AND retired_at IS NULL AND stopped_at IS NULL;
    RETURN CASE WHEN FOUND THEN clock_timestamp() END;
END $$;

-- Say what waits in a spool, for people; the lease stays as it is. Returns as spool_renew.
CREATE FUNCTION spool_report(host uuid, waiting integer, oldest timestamptz) RETURNS timestamptz
    LANGUAGE plpgsql AS $$
BEGIN
    UPDATE spool_hosts SET pending = waiting, oldest_at = oldest, heard_at = clock_timestamp()
    WHERE id = host AND retired_at IS NULL AND stopped_at IS NULL;
    RETURN CASE WHEN FOUND THEN clock_timestamp() END;
END $$;

-- The host ended in order, with nothing left and nobody who could add anything.
CREATE FUNCTION spool_stop(host uuid) RETURNS void
    LANGUAGE sql AS $$
    UPDATE spool_hosts SET stopped_at = clock_timestamp(), pending = 0, oldest_at = NULL
    WHERE id = host AND retired_at IS NULL
$$;

-- May a text not go now? True while any host could hold a delivery that is not stored yet.
CREATE FUNCTION sends_paused() RETURNS boolean
    LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM spool_hosts
                   WHERE retired_at IS NULL AND stopped_at IS NULL
                     AND clear_until <= clock_timestamp())
$$;

-- The hosts for which sends wait, the longest silent first.
CREATE FUNCTION spools_waited_for()
    RETURNS TABLE (host uuid, name text, pending integer, oldest_at timestamptz,
                   clear_until timestamptz, heard_at timestamptz)
    LANGUAGE sql VOLATILE AS $$
    SELECT h.id, h.name, h.pending, h.oldest_at, h.clear_until, h.heard_at FROM spool_hosts AS h
    WHERE h.retired_at IS NULL AND h.stopped_at IS NULL AND h.clear_until <= clock_timestamp()
    ORDER BY h.clear_until
$$;

-- Integrations whose vendor's list should be read now: every five minutes; every minute while the
-- source is silent, the last run failed, found something missing, or ended in the middle. As the
-- owner, since it looks across tenants; ids only.
CREATE FUNCTION reconciles_due(vendors text[])
    RETURNS TABLE (tenant_id uuid, integration_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.tenant_id, i.id FROM public.integrations AS i
    LEFT JOIN LATERAL (
        SELECT r.started_at, r.status, r.missing FROM public.reconcile_runs AS r
        WHERE r.tenant_id = i.tenant_id AND r.integration_id = i.id
        ORDER BY r.id DESC LIMIT 1) AS r ON true
    LEFT JOIN public.sync_state AS s
      ON s.tenant_id = i.tenant_id AND s.integration_id = i.id AND s.direction = 'in'
     AND s.entity_type = 'events'
    WHERE i.enabled AND i.base_url <> '' AND i.provider = ANY(vendors)
      AND coalesce(r.started_at <= clock_timestamp() - CASE
            WHEN r.status = 'failed' OR r.missing > 0 OR s.cursor_id <> ''
              OR coalesce(i.last_event_at, i.created_at)
                 < clock_timestamp() - make_interval(mins => i.silence_minutes)
            THEN interval '55 seconds' ELSE interval '5 minutes' END, true)
$$;
REVOKE ALL ON FUNCTION reconciles_due(text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reconciles_due(text[]) TO fairlead_app;
