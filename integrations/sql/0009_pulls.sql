-- Vendor pulls: what was seen, and what is due.

-- Whether a reader that came to a page with these ids may stop: every one of them was seen by this
-- query, in a sweep that was completed. No ids: false. One that is known is no reason to stop: new
-- records come first and push known ones down, onto pages that are still to be read.
CREATE FUNCTION has_vendor_ids_been_seen(owner uuid, vendor text, signature text, ids text[])
    RETURNS boolean
    LANGUAGE sql STABLE AS $$
    SELECT cardinality(ids) > 0 AND NOT EXISTS (
        SELECT FROM unnest(ids) AS wanted
        WHERE NOT EXISTS (
            SELECT FROM vendor_seen AS s
            WHERE s.tenant_id = owner AND s.source = vendor AND s.query_sig = signature
              AND s.vendor_id = wanted AND s.closed
        )
    )
$$;

-- Saved queries that a process should work on now, of all tenants: due by their schedule, with an
-- open sweep that nobody reads, or with a paused one whose pause is over. As the owner; ids only.
CREATE FUNCTION pulls_due() RETURNS TABLE (tenant uuid, query uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT q.tenant_id, q.id FROM public.pull_queries AS q
    WHERE q.enabled AND q.next_run_at <= clock_timestamp()
      AND NOT EXISTS (
          SELECT FROM public.pull_sweeps AS s
          WHERE s.tenant_id = q.tenant_id AND s.query_id = q.id AND s.status = 'paused'
            AND (s.resume_at IS NULL OR s.resume_at > clock_timestamp()))
    UNION
    SELECT s.tenant_id, s.query_id FROM public.pull_sweeps AS s
    WHERE s.status = 'open'
      AND (s.lease_until IS NULL OR s.lease_until < clock_timestamp())
    UNION
    SELECT s.tenant_id, s.query_id FROM public.pull_sweeps AS s
    WHERE s.status = 'paused' AND s.resume_at <= clock_timestamp()
$$;
REVOKE ALL ON FUNCTION pulls_due() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pulls_due() TO fairlead_app;
