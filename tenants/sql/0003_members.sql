-- Memberships across tenants, and the tenant that owns what belongs to nobody.

-- The tenants a person may enter now. Runs as the owner, since it must look across tenants; it
-- tells nothing but the memberships of the one person asked for.
CREATE FUNCTION tenants_of(person bigint)
    RETURNS TABLE (tenant_id uuid, slug text, name text, actor_id uuid, role text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id, t.slug, t.name, a.id, a.role
    FROM public.actors AS a
    JOIN public.tenants AS t ON t.id = a.tenant_id
    WHERE a.user_id = person
      AND a.is_active
      AND (a.expires_at IS NULL OR a.expires_at > clock_timestamp())
    ORDER BY t.name, t.id
$$;
REVOKE ALL ON FUNCTION tenants_of(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenants_of(bigint) TO fairlead_app;

INSERT INTO tenants (id, name, slug, plan, time_zone, legal_start, legal_end, daily_send_limit,
                     gold_label_priority, email_priority, wants_call_priority,
                     call_queue_threshold, settings, is_canary)
VALUES ('00000000-0000-0000-0000-000000000001', 'Platform', 'platform', 'platform', 'UTC', 8, 21, 0,
        100, 75, 100, 50, '{}', false);

-- Tenants are looked up before one is entered, so all may be read; only one's own may be changed.
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_read ON tenants FOR SELECT USING (true);
CREATE POLICY tenants_add ON tenants FOR INSERT WITH CHECK (true);
CREATE POLICY tenants_change ON tenants FOR UPDATE
    USING (id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
