-- Write what a CRM told of a contact whose lead is known, in one call: the lead's columns, its event,
-- and what is known of the contact. *told*: lead, link (ids), fields (columns of the lead and their
-- new values, all text), kind, cause, payload, at (NULL: not told), received_at, phone, email, tags,
-- correlation_id. Without a payload no event is added.
CREATE FUNCTION contact_told(owner uuid, told jsonb) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    subject uuid := (told ->> 'lead')::uuid;
    fresh jsonb := told -> 'fields';
    moment timestamptz := (told ->> 'at')::timestamptz;
    received timestamptz := (told ->> 'received_at')::timestamptz;
BEGIN
    IF fresh <> '{}' THEN
        UPDATE leads
        SET first_name = coalesce(fresh ->> 'first_name', first_name),
            last_name = coalesce(fresh ->> 'last_name', last_name),
            full_name = coalesce(fresh ->> 'full_name', full_name),
            company = coalesce(fresh ->> 'company', company),
            title = coalesce(fresh ->> 'title', title),
            address_line1 = coalesce(fresh ->> 'address_line1', address_line1),
            unit = coalesce(fresh ->> 'unit', unit),
            city = coalesce(fresh ->> 'city', city),
            region = coalesce(fresh ->> 'region', region),
            postal_code = coalesce(fresh ->> 'postal_code', postal_code),
            time_zone = coalesce(fresh ->> 'time_zone', time_zone),
            assigned_agent_id = coalesce((fresh ->> 'assigned_agent_id')::uuid, assigned_agent_id),
            updated_at = clock_timestamp()
        WHERE tenant_id = owner AND id = subject;
    END IF;
    IF told -> 'payload' <> 'null' THEN
        PERFORM lead_move(owner, subject, told ->> 'kind', NULL, told ->> 'cause',
                          told -> 'payload', NULL, NULL, told ->> 'correlation_id');
    END IF;
    UPDATE external_ids
    SET last_remote_at = greatest(last_remote_at, moment),
        last_synced_at = greatest(last_synced_at, received),
        lead_id = subject, phone = told ->> 'phone', email = told ->> 'email',
        tags = told -> 'tags'
    WHERE tenant_id = owner AND id = (told ->> 'link')::uuid;
END $$;
