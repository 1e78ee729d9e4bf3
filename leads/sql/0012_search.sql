-- Finding leads of the running tenant by what a person types or pastes. As the owner, because under
-- row-level security lower(), right() and prefixes read whole tables; the tenant comes from the
-- transaction, never from the caller, and nothing but ids leaves.
--
-- "asked" is what leads/search.py made of the words: id and id_kind, code, phone, starts, tail,
-- email, words, last, first. Each kind of find has a place: the smallest one of a lead counts.
CREATE OR REPLACE FUNCTION find_leads(asked jsonb, most integer)
    RETURNS TABLE (lead uuid, kind text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
    few integer := least(greatest(coalesce(most, 0), 0), 50);
    -- Rows of one index that are read for a first name beneath a last one, or for the middle of a
    -- number: a search for "j smith" among a million leads ends.
    enough CONSTANT integer := 20000;
    id_kind text := asked ->> 'id_kind';
    named uuid := (asked ->> 'id')::uuid;
    code text := asked ->> 'code';
    phone text := asked ->> 'phone';
    starts text := asked ->> 'starts';
    tail text := asked ->> 'tail';
    mail text := asked ->> 'email';
    words text := lower(asked ->> 'words');
    surname text := lower(asked ->> 'last');
    given_name text := lower(asked ->> 'first');
    starts_end text := starts || ':';
    words_end text := words || chr(1114111);
    last_end text := surname || chr(1114111);
BEGIN
    IF owner IS NULL OR few = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH RECURSIVE
    -- The distinct sources and counties, one step of the index each.
    sources AS (
        (SELECT l.source::text FROM public.leads AS l
         WHERE code IS NOT NULL AND l.tenant_id = owner AND l.superseded_at IS NULL
           AND l.source_id IS NOT NULL
         ORDER BY l.source LIMIT 1)
        UNION ALL
        SELECT (SELECT l.source::text FROM public.leads AS l
                WHERE l.tenant_id = owner AND l.superseded_at IS NULL AND l.source_id IS NOT NULL
                  AND l.source > s.source
                ORDER BY l.source LIMIT 1)
        FROM sources AS s WHERE s.source IS NOT NULL
    ),
    counties AS (
        (SELECT l.county_fips::text FROM public.leads AS l
         WHERE code IS NOT NULL AND l.tenant_id = owner AND l.superseded_at IS NULL
           AND l.apn <> '' AND l.county_fips <> ''
         ORDER BY l.county_fips LIMIT 1)
        UNION ALL
        SELECT (SELECT l.county_fips::text FROM public.leads AS l
                WHERE l.tenant_id = owner AND l.superseded_at IS NULL
                  AND l.apn <> '' AND l.county_fips <> '' AND l.county_fips > c.county_fips
                ORDER BY l.county_fips LIMIT 1)
        FROM counties AS c WHERE c.county_fips IS NOT NULL
    ),
    found AS (
        (SELECT l.id, 1 AS place, 'id' AS how FROM public.leads AS l
         WHERE id_kind = 'lead' AND l.tenant_id = owner AND l.id = named)
        UNION ALL
        (SELECT c.lead_id, 1, 'id' FROM public.contacts AS c
         WHERE id_kind = 'con' AND c.tenant_id = owner AND c.id = named)
        UNION ALL
        (SELECT p.lead_id, 1, 'id' FROM public.contact_points AS p
         WHERE id_kind = 'cpt' AND p.tenant_id = owner AND p.id = named)
        UNION ALL
        (SELECT p.lead_id, 1, 'id' FROM public.properties AS p
         WHERE id_kind = 'prop' AND p.tenant_id = owner AND p.id = named)
        UNION ALL
        (SELECT b.lead_id, 1, 'id' FROM public.businesses AS b
         WHERE id_kind = 'biz' AND b.tenant_id = owner AND b.id = named)
        UNION ALL
        (SELECT k.lead_id, 1, 'id' FROM public.lead_cards AS k
         WHERE id_kind = 'ulc' AND k.tenant_id = owner AND k.id = named)
        UNION ALL
        (SELECT l.id, 2, 'code' FROM sources AS s
         JOIN public.leads AS l ON l.source = s.source
         WHERE code IS NOT NULL AND l.tenant_id = owner AND l.superseded_at IS NULL
           AND l.source_id IS NOT NULL AND l.source_id = code
         LIMIT few)
        UNION ALL
        (SELECT x.lead_id, 2, 'code' FROM public.external_ids AS x
         WHERE code IS NOT NULL AND x.tenant_id = owner AND x.external_id = code LIMIT few)
        UNION ALL
        (SELECT l.id, 2, 'code' FROM public.leads AS l
         WHERE code IS NOT NULL AND l.tenant_id = owner AND l.superseded_at IS NULL
           AND l.mak <> '' AND l.mak = code)
        UNION ALL
        (SELECT l.id, 2, 'code' FROM counties AS c
         JOIN public.leads AS l ON l.county_fips = c.county_fips
         WHERE code IS NOT NULL AND l.tenant_id = owner AND l.superseded_at IS NULL
           AND l.apn <> '' AND l.county_fips <> '' AND l.apn = code
         LIMIT few)
        UNION ALL
        (SELECT p.lead_id, 3, 'phone' FROM public.contact_points AS p
         WHERE phone IS NOT NULL AND p.tenant_id = owner AND p.kind = 'phone'
           AND p.normalized = phone
         LIMIT few)
        UNION ALL
        (SELECT p.lead_id, 4, 'phone' FROM public.contact_points AS p
         WHERE tail IS NOT NULL AND p.tenant_id = owner AND p.kind = 'phone'
           AND right(p.normalized, 4) = right(tail, 4)
           AND right(p.normalized, length(tail)) = tail
         LIMIT few)
        UNION ALL
        (SELECT p.lead_id, 4, 'phone' FROM public.contact_points AS p
         WHERE starts IS NOT NULL AND p.tenant_id = owner AND p.kind = 'phone'
           AND p.normalized >= starts AND p.normalized < starts_end
           AND starts_with(p.normalized, starts)
         ORDER BY p.normalized LIMIT few)
        UNION ALL
        (SELECT p.lead_id, 3, 'email' FROM public.contact_points AS p
         WHERE mail IS NOT NULL AND p.tenant_id = owner AND p.kind = 'email'
           AND p.normalized = mail
         LIMIT few)
        UNION ALL
        (SELECT l.id, 5, 'name' FROM public.leads AS l
         WHERE words IS NOT NULL AND l.tenant_id = owner AND l.superseded_at IS NULL
           AND l.full_name <> ''
           AND lower(l.full_name) ~>=~ words AND lower(l.full_name) ~<~ words_end
         LIMIT few)
        UNION ALL
        (SELECT n.id, 5, 'name'
         FROM (SELECT l.id, coalesce(nullif(l.first_name, ''), l.full_name) AS given
               FROM public.leads AS l
               WHERE surname IS NOT NULL AND l.tenant_id = owner AND l.superseded_at IS NULL
                 AND NOT (l.full_name = '' AND l.last_name = '')
                 AND lower(coalesce(nullif(l.last_name, ''), split_part(l.full_name, ' ', -1)))
                     ~>=~ surname
                 AND lower(coalesce(nullif(l.last_name, ''), split_part(l.full_name, ' ', -1)))
                     ~<~ last_end
               LIMIT CASE WHEN given_name IS NULL THEN few ELSE enough END) AS n
         WHERE given_name IS NULL OR starts_with(lower(n.given), given_name)
         LIMIT few)
        UNION ALL
        (SELECT l.id, 6, 'company' FROM public.leads AS l
         WHERE words IS NOT NULL AND l.tenant_id = owner AND l.superseded_at IS NULL
           AND l.company <> ''
           AND lower(l.company) ~>=~ words AND lower(l.company) ~<~ words_end
         LIMIT few)
        UNION ALL
        (SELECT l.id, 7, 'address' FROM public.leads AS l
         WHERE words IS NOT NULL AND l.tenant_id = owner AND l.superseded_at IS NULL
           AND l.address_line1 <> ''
           AND lower(l.address_line1) ~>=~ words AND lower(l.address_line1) ~<~ words_end
         LIMIT few)
        UNION ALL
        (SELECT l.id, 8, 'address' FROM public.leads AS l
         WHERE words IS NOT NULL AND l.tenant_id = owner AND l.superseded_at IS NULL
           AND l.address_line1 <> ''
           AND lower(substring(l.address_line1, strpos(l.address_line1, ' ') + 1)) ~>=~ words
           AND lower(substring(l.address_line1, strpos(l.address_line1, ' ') + 1))
               ~<~ words_end
         LIMIT few)
    )
    SELECT f.id, (array_agg(f.how ORDER BY f.place))[1]
    FROM found AS f
    WHERE f.id IS NOT NULL
    GROUP BY f.id
    ORDER BY min(f.place), f.id DESC
    LIMIT few;
END $$;
REVOKE ALL ON FUNCTION find_leads(jsonb, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_leads(jsonb, integer) TO fairlead_app;
