-- Leads that become one, and part again.

-- The lead that *subject* is now part of: itself, or the end of its merges.
CREATE FUNCTION lead_root(owner uuid, subject uuid) RETURNS uuid
    LANGUAGE sql STABLE AS $$
    WITH RECURSIVE up AS (
        SELECT l.id, l.merged_into_id, 0 AS steps FROM leads AS l
        WHERE l.tenant_id = owner AND l.id = subject
        UNION ALL
        SELECT l.id, l.merged_into_id, up.steps + 1 FROM up
        JOIN leads AS l ON l.tenant_id = owner AND l.id = up.merged_into_id
        WHERE up.steps < 100
    )
    SELECT id FROM up ORDER BY steps DESC LIMIT 1
$$;

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

-- Propose that two leads are one; the review's id, or NULL where a person said that they are not.
-- A pair is proposed once: an open review learns a higher score (the finder's word replaces any),
-- and the record that waits for a decision, where it has none yet.
CREATE FUNCTION propose_review(owner uuid, one uuid, other uuid, points integer, why jsonb,
                               origin text, cause uuid, record jsonb, correlation text)
    RETURNS uuid
    LANGUAGE plpgsql AS $$
DECLARE
    a uuid := least(lead_root(owner, one), lead_root(owner, other));
    b uuid := greatest(lead_root(owner, one), lead_root(owner, other));
    made uuid;
BEGIN
    IF a IS NULL OR b IS NULL OR a = b OR EXISTS (
        SELECT FROM merge_reviews AS r WHERE r.tenant_id = owner AND r.left_id = a
           AND r.right_id = b AND r.status = 'not_duplicate') THEN
        RETURN NULL;
    END IF;
    INSERT INTO merge_reviews AS r (tenant_id, id, left_id, right_id, score, reasons, source,
                                    run_id, incoming, status, reason, correlation_id)
    VALUES (owner, ulid_new(), a, b, least(greatest(points, 0), 100), why, origin, cause, record,
            'open', '', correlation)
    ON CONFLICT (tenant_id, left_id, right_id) WHERE status = 'open' DO UPDATE
    SET score = CASE WHEN origin = 'finder' OR excluded.score > r.score THEN excluded.score
                     ELSE r.score END,
        reasons = CASE WHEN origin = 'finder' OR excluded.score > r.score THEN excluded.reasons
                       ELSE r.reasons END,
        incoming = coalesce(r.incoming, excluded.incoming),
        run_id = coalesce(r.run_id, excluded.run_id),
        updated_at = clock_timestamp()
    RETURNING r.id INTO made;
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
