-- Leads that become one, and part again.

-- A lead and all that became part of it: whose history is its own.
CREATE FUNCTION lead_family(owner uuid, subject uuid) RETURNS SETOF uuid
    LANGUAGE sql STABLE AS $$
    WITH RECURSIVE down AS (
        SELECT subject AS id
        UNION
        SELECT m.merged_id FROM down
        JOIN merges AS m ON m.tenant_id = owner AND m.survivor_id = down.id
                        AND m.undone_at IS NULL
    )
    SELECT id FROM down
$$;

-- Add the next event of a lead for a merge or for its end. The state may go anywhere: what proves
-- the move is the merge, not the machine. Returns the event's seq, or NULL when it was there.
CREATE FUNCTION lead_merge_move(owner uuid, subject uuid, what text, there text, cause uuid,
                                details jsonb, proof uuid, who uuid, correlation text)
    RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    here record;
    added integer;
BEGIN
    SELECT state, event_seq INTO here
    FROM leads WHERE tenant_id = owner AND id = subject
    FOR NO KEY UPDATE;
    INSERT INTO lead_events (tenant_id, id, lead_id, seq, kind, from_state, to_state, payload,
                             dedupe_key, consent_event_id, merge_id, machine, actor_id,
                             correlation_id, at)
    VALUES (owner, ulid_new(), subject, here.event_seq + 1, what, here.state,
            coalesce(there, here.state), details,
            ulid_text('mrg', cause) || ':' || what || ':' || ulid_text('lead', subject), proof,
            cause, NULL, who, correlation, clock_timestamp())
    ON CONFLICT (tenant_id, dedupe_key) DO NOTHING
    RETURNING seq INTO added;
    RETURN added;
END $$;

-- Give the columns *was* of a row back where they still are *became*; returns the others, in order.
CREATE FUNCTION put_back(owner uuid, tbl regclass, row_id uuid, was jsonb, became jsonb)
    RETURNS text[]
    LANGUAGE plpgsql AS $$
DECLARE
    here jsonb;
    kept text[];
    columns text;
BEGIN
    EXECUTE format('SELECT to_jsonb(t) FROM %s AS t WHERE t.tenant_id = $1 AND t.id = $2'
                   ' FOR NO KEY UPDATE', tbl)
    INTO here USING owner, row_id;
    SELECT coalesce(array_agg(k ORDER BY k) FILTER (
               WHERE here IS NULL OR here -> k IS DISTINCT FROM became -> k), '{}'),
           string_agg(quote_ident(k), ', ') FILTER (WHERE here -> k IS NOT DISTINCT FROM became -> k)
    INTO kept, columns
    FROM jsonb_object_keys(was) AS k;
    IF here IS NOT NULL AND columns IS NOT NULL THEN
        EXECUTE format('UPDATE %1$s AS t SET (%2$s) = (SELECT %2$s FROM'
                       ' jsonb_populate_record(NULL::%1$s, $3))'
                       ' WHERE t.tenant_id = $1 AND t.id = $2', tbl, columns)
        USING owner, row_id, was;
    END IF;
    RETURN kept;
END $$;

-- Propose that two leads, or those they are part of now, are one. As lead_propose, and an open
-- review learns a higher score. Returns the review, or NULL: they are one, or somebody said before
-- that they are two and no record waits.
CREATE FUNCTION propose_review(owner uuid, one uuid, other uuid, points integer, why jsonb,
                               origin text, cause uuid, record jsonb, correlation text)
    RETURNS uuid
    LANGUAGE plpgsql AS $$
DECLARE
    a uuid := lead_living(owner, one);
    b uuid := lead_living(owner, other);
    made uuid;
BEGIN
    IF a IS NULL OR b IS NULL OR a = b THEN
        RETURN NULL;
    END IF;
    made := lead_propose(owner, a, b, points, why, origin, cause, record, correlation);
    UPDATE merge_reviews AS r
    SET score = points, reasons = why, updated_at = clock_timestamp()
    WHERE r.tenant_id = owner AND r.id = made AND r.status = 'open' AND r.score < points;
    RETURN made;
END $$;

-- The lead that is texted at each number, and how many share it: the one texted last, else the
-- oldest. Numbers said to be wrong count for nobody.
CREATE FUNCTION lead_per_number(owner uuid)
    RETURNS TABLE (number text, lead_id uuid, leads bigint)
    LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (p.normalized) p.normalized, l.id,
           count(*) OVER (PARTITION BY p.normalized)
    FROM contact_points AS p
    JOIN leads AS l ON l.tenant_id = p.tenant_id AND l.id = p.lead_id
                   AND l.superseded_at IS NULL
    WHERE p.tenant_id = owner AND p.kind = 'phone' AND p.wrong_number_at IS NULL
    ORDER BY p.normalized, l.last_attempt_at DESC NULLS LAST, l.id
$$;

-- The smallest ULID of a moment: younger rows have larger ones.
CREATE FUNCTION ulid_at(moment timestamptz) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0')
            || repeat('0', 20))::uuid
$$;

-- The mailbox of a Gmail address, which knows neither dots nor tags; NULL for any other.
CREATE FUNCTION gmail_name(address text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN split_part(address, '@', 2) IN ('gmail.com', 'googlemail.com')
           THEN replace(split_part(split_part(address, '@', 1), '+', 1), '.', '') END
$$;

-- Pairs of leads that may be one, of which at least one is among *subjects*: they share a phone
-- number, an e-mail address (Gmail's dots and tags left out), an address whoever owns it, or zip,
-- house number and a name. Keys that thousands share, such as an office's number, give twenty
-- pairs a lead. Address key and parcel are unique among living leads, and so make no pair.
CREATE FUNCTION duplicate_pairs(owner uuid, subjects uuid[])
    RETURNS TABLE (a uuid, b uuid)
    LANGUAGE sql STABLE AS $$
    WITH mine AS MATERIALIZED (
        SELECT l.id, l.addr_hash, l.postal_code, lower(l.last_name) AS last_name,
               lower(l.company) AS company, split_part(l.address_line1, ' ', 1) AS house
        FROM leads AS l
        WHERE l.tenant_id = owner AND l.id = ANY (subjects) AND l.superseded_at IS NULL
    ), points AS MATERIALIZED (
        SELECT p.lead_id, p.kind, p.normalized FROM contact_points AS p
        JOIN mine ON mine.id = p.lead_id
        WHERE p.tenant_id = owner
    ), found AS (
        SELECT p.lead_id AS one, q.lead_id AS other FROM points AS p
        CROSS JOIN LATERAL (
            SELECT x.lead_id FROM contact_points AS x
            WHERE x.tenant_id = owner AND x.normalized = p.normalized AND x.kind = p.kind
              AND x.lead_id <> p.lead_id
            LIMIT 20) AS q
        UNION
        SELECT m.id, q.id FROM mine AS m
        CROSS JOIN LATERAL (
            SELECT x.id FROM leads AS x
            WHERE x.tenant_id = owner AND x.addr_hash = m.addr_hash AND x.superseded_at IS NULL
              AND x.id <> m.id
            LIMIT 20) AS q
        WHERE m.addr_hash IS NOT NULL
        UNION
        SELECT p.lead_id, q.lead_id FROM points AS p
        JOIN contact_points AS q
          ON q.tenant_id = owner AND q.kind = 'email' AND q.lead_id <> p.lead_id
         AND gmail_name(q.normalized) = gmail_name(p.normalized)
        WHERE p.kind = 'email' AND gmail_name(p.normalized) IS NOT NULL
          AND gmail_name(q.normalized) IS NOT NULL
        UNION
        SELECT m.id, x.id FROM mine AS m
        JOIN leads AS x
          ON x.tenant_id = owner AND x.superseded_at IS NULL AND x.postal_code = m.postal_code
         AND split_part(x.address_line1, ' ', 1) = m.house
         AND (lower(x.last_name) = m.last_name AND m.last_name <> ''
              OR lower(x.company) = m.company AND m.company <> '')
        WHERE m.postal_code <> '' AND m.house <> '' AND x.id <> m.id
    )
    SELECT DISTINCT least(f.one, f.other), greatest(f.one, f.other) FROM found AS f
    JOIN leads AS l ON l.tenant_id = owner AND l.id = f.other AND l.superseded_at IS NULL
$$;

-- Write down what the finder thinks of pairs: *pairs* is an array of {a, b, score, reasons}. A pair
-- that somebody settled stays so; one below *least_score* is not asked about, but where it was, its
-- score is brought up to date. Returns how many are open now.
CREATE FUNCTION duplicates_found(owner uuid, pairs jsonb, least_score integer, cause uuid,
                                 correlation text) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    UPDATE merge_reviews AS r
    SET score = f.score, reasons = f.reasons, updated_at = clock_timestamp()
    FROM jsonb_to_recordset(pairs) AS f(a uuid, b uuid, score smallint, reasons jsonb)
    WHERE r.tenant_id = owner AND r.left_id = f.a AND r.right_id = f.b AND r.status = 'open'
      AND (r.score, r.reasons) IS DISTINCT FROM (f.score, f.reasons);
    INSERT INTO merge_reviews (tenant_id, id, left_id, right_id, score, reasons, source, run_id,
                               status, reason, correlation_id)
    SELECT owner, ulid_new(), f.a, f.b, f.score, f.reasons, 'finder', cause, 'open', '',
           correlation
    FROM jsonb_to_recordset(pairs) AS f(a uuid, b uuid, score smallint, reasons jsonb)
    WHERE f.score >= least_score AND NOT EXISTS (
        SELECT FROM merge_reviews AS r WHERE r.tenant_id = owner AND r.left_id = f.a
           AND r.right_id = f.b AND r.status = 'not_duplicate')
    ON CONFLICT (tenant_id, left_id, right_id) WHERE status = 'open' DO NOTHING;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END $$;
