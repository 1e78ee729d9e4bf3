-- How good what we know of a lead is. One home of the rule: score_parts. Nothing here touches the
-- state of a lead or anybody's consent.

-- Rewritten as a whole when the rule changes: with half of each page free the new versions of its
-- rows fit beside the old ones and no index is touched.
ALTER TABLE lead_scores SET (fillfactor = 50);

-- Version 1 of the rule, for a tenant that has none. leads/models/score.py says the same numbers; a
-- test compares the two.
CREATE FUNCTION seed_score_rule(owner uuid) RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO score_rules (tenant_id, id, version, email, phone, parcel, occupied, demographics,
                             age_min, value_min, equity_above, contactable_from, enriched_from,
                             reason)
    VALUES (owner, ulid_new(), 1, 40, 30, 10, 10, 10, 62, 100000, 0, 60, 40,
            'The rule every account starts with')
    ON CONFLICT (tenant_id, version) DO NOTHING
$$;
SELECT seed_score_rule(id) FROM tenants;

-- The rule in force: the newest version. Raises LD030 where a tenant has none.
CREATE FUNCTION score_rule_of(owner uuid) RETURNS score_rules
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    found_rule score_rules;
BEGIN
    SELECT * INTO found_rule FROM score_rules
    WHERE tenant_id = owner ORDER BY version DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the tenant has no score rule' USING ERRCODE = 'LD030';
    END IF;
    RETURN found_rule;
END $$;

-- Points of leads under a rule at a moment: of those in *ids*, else of all live ones after *first*
-- and up to *last* (either may be NULL). A part is NULL while nothing is known of it:
--   email, phone   only a verification that is not too old is evidence. Verified earns, refused is
--                  0; never looked at, catch-all, "unknown" and expired are NULL. A verified phone
--                  is 0 when it is a landline, on a do-not-call list, a litigator's or somebody
--                  else's.
--   parcel         address key and parcel number with its county; half of it is 0, nothing NULL.
--   occupied       as said; NULL where nobody said.
--   demographics   false as soon as one of age, value, equity misses; NULL while it may still hold.
-- For the planner, which unfolds it where it is called, and parallel.
CREATE FUNCTION score_parts(owner uuid, rule score_rules, moment timestamptz, ids uuid[],
                            first uuid, last uuid)
    RETURNS TABLE (lead_id uuid, score integer, band text, email smallint, phone smallint,
                   parcel smallint, occupied smallint, demographics smallint)
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT t.lead_id, t.score,
           CASE WHEN t.score >= (rule).contactable_from THEN 'contactable'
                WHEN t.score >= (rule).enriched_from THEN 'enriched'
                ELSE 'low' END,
           t.email, t.phone, t.parcel, t.occupied, t.demographics
    FROM (
        SELECT p.*, (coalesce(p.email, 0) + coalesce(p.phone, 0) + coalesce(p.parcel, 0)
                     + coalesce(p.occupied, 0) + coalesce(p.demographics, 0))::integer AS score
        FROM (
            SELECT l.id AS lead_id,
                   (CASE c.email WHEN true THEN (rule).email WHEN false THEN 0 END)::smallint
                       AS email,
                   (CASE c.phone WHEN true THEN (rule).phone WHEN false THEN 0 END)::smallint
                       AS phone,
                   (CASE WHEN l.mak <> '' AND l.apn <> '' AND l.county_fips <> ''
                         THEN (rule).parcel
                         WHEN l.mak <> '' OR l.apn <> '' THEN 0 END)::smallint AS parcel,
                   (CASE l.owner_occupied WHEN true THEN (rule).occupied
                                          WHEN false THEN 0 END)::smallint AS occupied,
                   (CASE l.age >= (rule).age_min AND l.property_value >= (rule).value_min
                         AND l.estimated_equity > (rule).equity_above
                         WHEN true THEN (rule).demographics
                         WHEN false THEN 0 END)::smallint AS demographics
            FROM leads AS l
            LEFT JOIN (
                SELECT e.lead_id, bool_or(e.holds) FILTER (WHERE e.kind = 'email') AS email,
                       bool_or(e.holds) FILTER (WHERE e.kind = 'phone') AS phone
                FROM (
                    SELECT cp.lead_id, cp.kind,
                           CASE WHEN v.verdict = 'invalid' THEN false
                                WHEN cp.verification_id IS DISTINCT FROM v.id THEN NULL
                                WHEN cp.expires_at <= moment THEN NULL
                                WHEN cp.kind = 'email' THEN true
                                ELSE cp.line_type IN ('mobile', 'voip')
                                     AND cp.dnc IS NOT TRUE AND cp.litigator IS NOT TRUE
                                     AND cp.tcpa IS NOT TRUE AND cp.wrong_number_at IS NULL
                           END AS holds
                    FROM verifications AS v
                    JOIN contact_points AS cp
                      ON cp.tenant_id = v.tenant_id AND cp.id = v.point_id
                    WHERE v.tenant_id = owner AND cp.tenant_id = owner
                      AND v.verdict IN ('verified', 'invalid')
                      AND (v.expires_at IS NULL OR v.expires_at > moment)
                      AND (ids IS NULL OR cp.lead_id = ANY (ids))
                      AND (first IS NULL OR cp.lead_id > first)
                      AND (last IS NULL OR cp.lead_id <= last)
                ) AS e
                GROUP BY e.lead_id
            ) AS c ON c.lead_id = l.id
            WHERE l.tenant_id = owner
              AND (ids IS NULL OR l.id = ANY (ids))
              AND (ids IS NOT NULL OR l.superseded_at IS NULL)
              AND (first IS NULL OR l.id > first)
              AND (last IS NULL OR l.id <= last)
        ) AS p
    ) AS t
$$;

-- Compute and store the scores of leads, chosen as in score_parts; *seen* leads were looked at,
-- *changed* are those whose points or band are new. A change is kept in quality_scores; a new
-- version of the rule alone is not one. The scorings of a tenant take turns until they commit, so
-- that none writes over a newer one with what it read earlier: keep transactions that score short.
CREATE FUNCTION score_write(owner uuid, ids uuid[], first uuid, last uuid, correlation text)
    RETURNS TABLE (seen integer, changed integer)
    LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    rule score_rules;
    moment timestamptz;
    stem text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('score ' || owner::text, 0));
    rule := score_rule_of(owner);
    moment := clock_timestamp();
    -- Ids of one statement count up from one random stem: they cost an eighth of ulid_new().
    stem := left(replace(ulid_new()::text, '-', ''), 24);
    RETURN QUERY
    WITH computed AS MATERIALIZED (
        SELECT p.*, s.lead_id IS NULL AS is_new,
               s.lead_id IS NULL
               OR (s.score, s.band, s.email, s.phone, s.parcel, s.occupied, s.demographics)
                  IS DISTINCT FROM
                  (p.score, p.band, p.email, p.phone, p.parcel, p.occupied, p.demographics)
               AS is_changed,
               s.rule_version IS DISTINCT FROM rule.version AS is_other_rule
        FROM score_parts(owner, rule, moment, ids, first, last) AS p
        LEFT JOIN (SELECT * FROM lead_scores AS x
                   WHERE x.tenant_id = owner
                     AND (ids IS NULL OR x.lead_id = ANY (ids))
                     AND (first IS NULL OR x.lead_id > first)
                     AND (last IS NULL OR x.lead_id <= last)) AS s ON s.lead_id = p.lead_id
    ), rewritten AS (
        UPDATE lead_scores AS s
        SET score = c.score, band = c.band, email = c.email, phone = c.phone, parcel = c.parcel,
            occupied = c.occupied, demographics = c.demographics, rule_version = rule.version,
            updated_at = moment
        FROM computed AS c
        WHERE s.tenant_id = owner AND s.lead_id = c.lead_id AND NOT c.is_new
          AND (c.is_changed OR c.is_other_rule)
    ), added AS (
        INSERT INTO lead_scores (tenant_id, id, lead_id, score, band, email, phone, parcel,
                                 occupied, demographics, rule_version, updated_at)
        SELECT owner, (stem || lpad(to_hex(row_number() OVER ()), 8, '0'))::uuid, c.lead_id,
               c.score, c.band, c.email, c.phone, c.parcel, c.occupied, c.demographics,
               rule.version, moment
        FROM computed AS c WHERE c.is_new
    ), kept AS (
        INSERT INTO quality_scores (tenant_id, id, lead_id, score, band, email, phone, parcel,
                                    occupied, demographics, rule_version, correlation_id)
        SELECT owner, (stem || lpad(to_hex(row_number() OVER ()), 8, '0'))::uuid, c.lead_id,
               c.score, c.band, c.email, c.phone, c.parcel, c.occupied, c.demographics,
               rule.version, correlation
        FROM computed AS c WHERE c.is_changed
    )
    SELECT count(*)::integer, (count(*) FILTER (WHERE c.is_changed))::integer FROM computed AS c;
END $$;

-- Score leads by their ids; returns how many were looked at and how many changed.
CREATE FUNCTION score_leads(owner uuid, ids uuid[], correlation text DEFAULT '')
    RETURNS TABLE (seen integer, changed integer)
    LANGUAGE sql AS $$
    SELECT * FROM score_write(owner, coalesce(ids, '{}'), NULL, NULL, correlation)
$$;

-- Score the next *most* live leads after *here*; returns where to go on, NULL at the end.
CREATE FUNCTION score_next(owner uuid, here uuid, most integer, correlation text DEFAULT '')
    RETURNS TABLE (there uuid, seen integer, changed integer)
    LANGUAGE plpgsql AS $$
DECLARE
    upto uuid;
BEGIN
    -- Merged leads are counted in: the chunk is a piece of the key, not of what is scored.
    SELECT l.id INTO upto FROM leads AS l
    WHERE l.tenant_id = owner AND (here IS NULL OR l.id > here)
    ORDER BY l.id OFFSET most - 1 LIMIT 1;
    RETURN QUERY SELECT upto, w.seen, w.changed
                 FROM score_write(owner, NULL, here, upto, correlation) AS w;
END $$;

-- The score of a lead, computed now and not stored; NULL of no lead. The tenant is the lead's own.
CREATE FUNCTION compute_quality_score(lead uuid) RETURNS integer
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    owner uuid := (SELECT l.tenant_id FROM leads AS l WHERE l.id = lead);
    found_score integer;
BEGIN
    IF owner IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT p.score INTO found_score
    FROM score_parts(owner, score_rule_of(owner), clock_timestamp(), ARRAY[lead], NULL, NULL) AS p;
    RETURN found_score;
END $$;

-- Compute and store the score of a lead and return its band: contactable, enriched or low; NULL of
-- no lead. A band is no consent and no state: neither is read or written.
CREATE FUNCTION update_lead_status_from_score(lead uuid) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    owner uuid := (SELECT l.tenant_id FROM leads AS l WHERE l.id = lead);
BEGIN
    IF owner IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM score_leads(owner, ARRAY[lead]);
    RETURN (SELECT s.band FROM lead_scores AS s WHERE s.tenant_id = owner AND s.lead_id = lead);
END $$;

-- How many leads a rule would move: from the band they are in ('' where they have no score) to the
-- one they would be in. *draft*: columns of score_rules.
CREATE FUNCTION score_preview(owner uuid, draft jsonb)
    RETURNS TABLE (was text, becomes text, leads bigint)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    rule score_rules := jsonb_populate_record(score_rule_of(owner), draft);
    moment timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
    SELECT coalesce(s.band, '')::text, p.band, count(*)
    FROM score_parts(owner, rule, moment, NULL, NULL, NULL) AS p
    LEFT JOIN (SELECT x.lead_id, x.band FROM lead_scores AS x WHERE x.tenant_id = owner) AS s
           ON s.lead_id = p.lead_id
    GROUP BY 1, 2
    ORDER BY 1, 2;
END $$;

-- Tenants whose leads are being scored anew. As the owner, since it looks across tenants.
CREATE FUNCTION tenants_with_rescores() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id FROM public.tenants AS t
    WHERE EXISTS (SELECT FROM public.pipeline_runs AS r
                  WHERE r.tenant_id = t.id AND r.pipeline_name = 'rescore'
                    AND r.status = 'running')
$$;
REVOKE ALL ON FUNCTION tenants_with_rescores() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenants_with_rescores() TO fairlead_app;

-- Leads by state and source with their bands. *status* is the lead's state.
CREATE VIEW vw_lead_quality_summary WITH (security_invoker = true) AS
    SELECT l.tenant_id, l.state AS status, l.source, count(*) AS count,
           round(avg(s.score), 1) AS avg_quality_score,
           count(*) FILTER (WHERE s.band = 'contactable') AS contactable_count,
           count(*) FILTER (WHERE s.band = 'enriched') AS enriched_count,
           count(*) FILTER (WHERE s.band = 'low') AS low_quality_count
    FROM leads AS l
    LEFT JOIN lead_scores AS s ON s.tenant_id = l.tenant_id AND s.lead_id = l.id
    WHERE l.superseded_at IS NULL
    GROUP BY l.tenant_id, l.state, l.source;

-- Leads a campaign may take, the best first: in the band contactable, not suppressed, closed or
-- paused, not in a campaign, nobody opted out or on hold by any number of theirs. *number* is the
-- one to text, and no two rows have the same: of a household's the best lead stands for all. It is
-- NULL where only a verified e-mail can be used.
CREATE VIEW vw_campaign_ready_leads WITH (security_invoker = true) AS
    WITH blocked AS (
        SELECT cp.tenant_id, cp.lead_id
        FROM contact_points AS cp
        JOIN consents AS c ON c.tenant_id = cp.tenant_id AND c.address = cp.normalized
        WHERE cp.kind = 'phone' AND c.channel = 'sms'
          AND (c.scope = '' OR c.scope LIKE 'list:%')
          AND c.state IN ('opted_out', 'held')
          AND (c.expires_at IS NULL OR c.expires_at > clock_timestamp())
        UNION ALL
        -- An erased address that somebody brought again: the registry knows it by its hash.
        SELECT cp.tenant_id, cp.lead_id
        FROM contact_points AS cp
        JOIN consents AS c
          ON c.tenant_id = cp.tenant_id
         AND c.address = CASE WHEN EXISTS (SELECT FROM redactions AS r
                                           WHERE r.tenant_id = cp.tenant_id)
                              THEN address_digest(cp.normalized) END
        WHERE cp.kind = 'phone' AND c.channel = 'sms' AND c.scope = ''
          AND c.state IN ('opted_out', 'held')
    ), ready AS (
        SELECT l.tenant_id, l.id, s.score
        FROM lead_scores AS s
        JOIN leads AS l ON l.tenant_id = s.tenant_id AND l.id = s.lead_id
        WHERE s.band = 'contactable'
          AND l.superseded_at IS NULL AND l.added_to_campaign_at IS NULL
          AND l.state NOT IN ('suppressed', 'closed')
          AND (l.paused_until IS NULL OR l.paused_until <= clock_timestamp())
          AND NOT EXISTS (SELECT FROM blocked AS b
                          WHERE b.tenant_id = s.tenant_id AND b.lead_id = s.lead_id)
    ), numbers AS (
        SELECT DISTINCT ON (cp.tenant_id, cp.lead_id) cp.tenant_id, cp.lead_id, cp.normalized
        FROM ready AS r
        JOIN contact_points AS cp ON cp.tenant_id = r.tenant_id AND cp.lead_id = r.id
        WHERE cp.kind = 'phone' AND cp.line_type <> 'landline' AND cp.wrong_number_at IS NULL
          AND cp.dnc IS NOT TRUE AND cp.litigator IS NOT TRUE AND cp.tcpa IS NOT TRUE
        ORDER BY cp.tenant_id, cp.lead_id, (cp.verified_at IS NOT NULL) DESC, cp.is_primary DESC,
                 cp.score DESC NULLS LAST, cp.id
    ), mailable AS (
        SELECT DISTINCT cp.tenant_id, cp.lead_id
        FROM ready AS r
        JOIN contact_points AS cp ON cp.tenant_id = r.tenant_id AND cp.lead_id = r.id
        WHERE cp.kind = 'email' AND cp.verified_at IS NOT NULL
          AND (cp.expires_at IS NULL OR cp.expires_at > clock_timestamp())
          AND NOT EXISTS (SELECT FROM consents AS c
                          WHERE c.tenant_id = cp.tenant_id AND c.channel = 'email'
                            AND c.address = cp.normalized AND c.scope = ''
                            AND c.state IN ('opted_out', 'held'))
    ), one_each AS (
        SELECT DISTINCT ON (w.tenant_id, w.number) w.* FROM (
            SELECT r.tenant_id, r.id, r.score, n.normalized AS number
            FROM ready AS r JOIN numbers AS n ON n.tenant_id = r.tenant_id AND n.lead_id = r.id
        ) AS w
        ORDER BY w.tenant_id, w.number, w.score DESC, w.id
    ), taken AS (
        SELECT tenant_id, id, score, number FROM one_each
        UNION ALL
        SELECT r.tenant_id, r.id, r.score, NULL
        FROM ready AS r JOIN mailable AS m ON m.tenant_id = r.tenant_id AND m.lead_id = r.id
        WHERE NOT EXISTS (SELECT FROM numbers AS n
                          WHERE n.tenant_id = r.tenant_id AND n.lead_id = r.id)
    )
    SELECT t.tenant_id, l.id, l.first_name, l.last_name, l.city AS property_city,
           l.region AS property_state, t.score AS quality_score, t.number,
           (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'phone', cp.normalized, 'source', cp.source, 'score', cp.score,
                'verified', cp.verified_at IS NOT NULL, 'type', cp.line_type,
                'added_at', cp.created_at) ORDER BY cp.is_primary DESC, cp.id), '[]')
            FROM contact_points AS cp
            WHERE cp.tenant_id = t.tenant_id AND cp.lead_id = t.id AND cp.kind = 'phone') AS phones,
           (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'email', cp.normalized, 'source', cp.source, 'score', cp.score,
                'verified', cp.verified_at IS NOT NULL,
                'added_at', cp.created_at) ORDER BY cp.is_primary DESC, cp.id), '[]')
            FROM contact_points AS cp
            WHERE cp.tenant_id = t.tenant_id AND cp.lead_id = t.id AND cp.kind = 'email') AS emails,
           w.name AS assigned_persona, l.microsite_url,
           coalesce(l.first_seen_at, l.created_at) AS first_seen_at
    FROM taken AS t
    JOIN leads AS l ON l.tenant_id = t.tenant_id AND l.id = t.id
    LEFT JOIN workers AS w ON w.tenant_id = l.tenant_id AND w.id = l.assigned_persona_id
    ORDER BY t.score DESC, l.id;

-- The keys of a lead's flags stand on the lead, too, where lists and gates read them.
CREATE FUNCTION lead_flags_follow() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    touched record;
BEGIN
    FOR touched IN
        SELECT DISTINCT t.tenant_id, t.lead_id
        FROM (SELECT NEW.tenant_id, NEW.lead_id, NEW.label_id WHERE TG_OP <> 'DELETE'
              UNION SELECT OLD.tenant_id, OLD.lead_id, OLD.label_id WHERE TG_OP <> 'INSERT')
             AS t (tenant_id, lead_id, label_id)
        JOIN labels AS b ON b.tenant_id = t.tenant_id AND b.id = t.label_id AND b.kind = 'flag'
        ORDER BY 1, 2
    LOOP
        UPDATE leads AS l
        SET flags = f.keys, updated_at = clock_timestamp()
        FROM (SELECT coalesce(array_agg(b.key ORDER BY b.key), '{}') AS keys
              FROM lead_labels AS x
              JOIN labels AS b ON b.tenant_id = x.tenant_id AND b.id = x.label_id
              WHERE x.tenant_id = touched.tenant_id AND x.lead_id = touched.lead_id
                AND b.kind = 'flag') AS f
        WHERE l.tenant_id = touched.tenant_id AND l.id = touched.lead_id
          AND l.flags IS DISTINCT FROM f.keys;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER lead_labels_carry_flags
    AFTER INSERT OR UPDATE OR DELETE ON lead_labels
    FOR EACH ROW EXECUTE FUNCTION lead_flags_follow();
