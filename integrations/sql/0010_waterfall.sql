-- Paid calls. Everybody locks in this order: the input, the circuit, the counters by name.

-- Reserve one paid call, or say why it must not be made. *asked*: integration, provider, service,
-- fingerprint, price (cents), caps ([{scope, period, calls, cents}]), fresh_days, cool_down_days,
-- silent_s, correlation_id, and the ids lead, point, stage, enrichment, sweep (or NULL).
-- outcome: reserved, cached, or the reason of a refusal; *until* NULL: only a person changes it.
-- The caps of the whole tenant stand in its settings: spend_caps {day_calls, day_cents,
-- month_calls, month_cents}.
CREATE FUNCTION vendor_reserve(owner uuid, asked jsonb)
    RETURNS TABLE (outcome text, call uuid, until timestamptz, detail text)
    LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    price integer := (asked ->> 'price')::integer;
    account uuid := (asked ->> 'integration')::uuid;
    host record;
    input record;
    last record;
    circuit record;
    counter record;
    today date;
    scope_names text[];
    made uuid;
BEGIN
    SELECT t.time_zone, coalesce(t.settings -> 'spend_caps', '{}') AS caps INTO host
    FROM tenants AS t WHERE t.id = owner;
    today := (moment AT TIME ZONE host.time_zone)::date;
    IF NOT EXISTS (SELECT FROM integrations AS i
                   WHERE i.tenant_id = owner AND i.id = account AND i.enabled)
       OR EXISTS (SELECT FROM waterfall_stages AS s
                  WHERE s.tenant_id = owner AND s.id = (asked ->> 'stage')::uuid
                    AND NOT s.enabled) THEN
        RETURN QUERY SELECT 'disabled', NULL::uuid, NULL::timestamptz, ''::text;
        RETURN;
    END IF;

    -- What is known about the same input.
    INSERT INTO vendor_inputs (tenant_id, id, provider, service, fingerprint, fresh_until)
    VALUES (owner, ulid_new(), asked ->> 'provider', asked ->> 'service', asked ->> 'fingerprint',
            moment)
    ON CONFLICT (tenant_id, provider, service, fingerprint) DO NOTHING;
    SELECT v.id, v.call_id, v.open_since, v.fresh_until INTO input
    FROM vendor_inputs AS v
    WHERE v.tenant_id = owner AND v.provider = asked ->> 'provider'
      AND v.service = asked ->> 'service' AND v.fingerprint = asked ->> 'fingerprint'
    FOR NO KEY UPDATE;
    moment := clock_timestamp();  -- the lock may have been waited for
    IF input.call_id IS NOT NULL THEN
        SELECT a.result, a.at INTO last FROM vendor_answers AS a
        WHERE a.tenant_id = owner AND a.call_id = input.call_id
        ORDER BY a.is_final DESC, a.id DESC LIMIT 1;
        IF NOT FOUND THEN
            IF input.open_since + make_interval(secs => (asked ->> 'silent_s')::float) > moment THEN
                RETURN QUERY SELECT 'in_flight', input.call_id, input.open_since
                    + make_interval(secs => (asked ->> 'silent_s')::float), ''::text;
            ELSE
                RETURN QUERY SELECT 'unknown', input.call_id, NULL::timestamptz, ''::text;
            END IF;
            RETURN;
        ELSIF last.result = 'unknown' THEN
            RETURN QUERY SELECT 'unknown', input.call_id, NULL::timestamptz, ''::text;
            RETURN;
        ELSIF last.result = 'pending' THEN
            RETURN QUERY SELECT 'in_flight', input.call_id, moment + interval '1 minute', ''::text;
            RETURN;
        ELSIF last.result IN ('hit', 'miss') AND moment < least(input.fresh_until,
                last.at + make_interval(days => (asked ->> 'fresh_days')::integer)) THEN
            RETURN QUERY SELECT 'cached', input.call_id, input.fresh_until, ''::text;
            RETURN;
        END IF;
    END IF;

    -- Whether this lead was asked about lately, whatever was asked.
    IF (asked ->> 'cool_down_days')::integer > 0 AND asked ->> 'lead' IS NOT NULL THEN
        SELECT a.result, a.at + make_interval(days => (asked ->> 'cool_down_days')::integer) AS ends
        INTO last
        FROM vendor_calls AS c
        JOIN vendor_answers AS a ON a.tenant_id = c.tenant_id AND a.call_id = c.id
        WHERE c.tenant_id = owner AND c.lead_id = (asked ->> 'lead')::uuid
          AND c.provider = asked ->> 'provider' AND c.service = asked ->> 'service'
          AND c.point_id IS NOT DISTINCT FROM (asked ->> 'point')::uuid
          AND a.result IN ('hit', 'miss')
        ORDER BY a.id DESC LIMIT 1;
        IF FOUND AND last.result = 'miss' AND last.ends > moment THEN
            RETURN QUERY SELECT 'cool_down', NULL::uuid, last.ends, ''::text;
            RETURN;
        END IF;
    END IF;

    -- Whether the account works. Who finds it due again is the one probe.
    SELECT p.state, p.probe_at, p.throttled_until INTO circuit
    FROM provider_circuits AS p WHERE p.tenant_id = owner AND p.integration_id = account;
    IF FOUND AND circuit.state <> 'closed' AND circuit.probe_at <= moment THEN
        SELECT p.state, p.probe_at, p.throttled_until INTO circuit
        FROM provider_circuits AS p WHERE p.tenant_id = owner AND p.integration_id = account
        FOR NO KEY UPDATE;
    END IF;
    IF circuit.throttled_until > moment THEN
        RETURN QUERY SELECT 'throttled', NULL::uuid, circuit.throttled_until, ''::text;
        RETURN;
    ELSIF circuit.state <> 'closed' AND circuit.probe_at > moment THEN
        RETURN QUERY SELECT 'circuit', NULL::uuid, circuit.probe_at, ''::text;
        RETURN;
    END IF;

    -- All counters or none: what one cap refuses is given back to the others.
    BEGIN
        IF circuit.state <> 'closed' THEN
            UPDATE provider_circuits AS p
            SET state = 'half', updated_at = moment,
                probe_at = moment + make_interval(secs => (asked ->> 'silent_s')::float)
            WHERE p.tenant_id = owner AND p.integration_id = account;
        END IF;
        scope_names := ARRAY(
            SELECT DISTINCT n FROM (
                SELECT 'all' UNION SELECT 'provider:' || (asked ->> 'provider')
                UNION SELECT c ->> 'scope' FROM jsonb_array_elements(asked -> 'caps') AS c
            ) AS names (n));
        FOR counter IN
            SELECT n AS scope, p AS period,
                   CASE p WHEN 'day' THEN today ELSE date_trunc('month', today)::date END AS starts,
                   least(min((c ->> 'calls')::integer), CASE n WHEN 'all' THEN
                       (host.caps ->> (p || '_calls'))::integer END) AS calls,
                   least(min((c ->> 'cents')::bigint), CASE n WHEN 'all' THEN
                       (host.caps ->> (p || '_cents'))::bigint END) AS cents
            FROM unnest(scope_names) AS n CROSS JOIN unnest(ARRAY['day', 'month']) AS p
            LEFT JOIN jsonb_array_elements(asked -> 'caps') AS c
                ON c ->> 'scope' = n AND c ->> 'period' = p
            GROUP BY n, p ORDER BY n COLLATE "C", p
        LOOP
            INSERT INTO spend_counters AS s
                (tenant_id, id, scope, period, starts, calls, cents, call_cap, cents_cap)
            SELECT owner, ulid_new(), counter.scope, counter.period, counter.starts, 1, price,
                   counter.calls, counter.cents
            WHERE coalesce(counter.calls, 1) >= 1 AND coalesce(counter.cents, price) >= price
            ON CONFLICT (tenant_id, scope, period, starts) DO UPDATE
            SET calls = s.calls + 1, cents = s.cents + price, call_cap = counter.calls,
                cents_cap = counter.cents, updated_at = clock_timestamp()
            WHERE s.calls + 1 <= coalesce(counter.calls, s.calls + 1)
              AND s.cents + price <= coalesce(counter.cents, s.cents + price);
            IF NOT FOUND THEN
                RAISE EXCEPTION 'cap' USING ERRCODE = 'LD040',
                    DETAIL = counter.scope || ' ' || counter.period;
            END IF;
        END LOOP;
    EXCEPTION WHEN SQLSTATE 'LD040' THEN
        RETURN QUERY SELECT 'cap', NULL::uuid,
            (CASE counter.period WHEN 'day' THEN today + 1
             ELSE (date_trunc('month', today) + interval '1 month')::date END)::timestamp
                AT TIME ZONE host.time_zone,
            counter.scope || ' ' || counter.period;
        RETURN;
    END;
    made := ulid_new();
    INSERT INTO vendor_calls (tenant_id, id, provider, service, integration_id, stage_id,
                              enrichment_id, sweep_id, lead_id, point_id, fingerprint,
                              reserved_cents, scopes, day, correlation_id, at)
    VALUES (owner, made, asked ->> 'provider', asked ->> 'service', account,
            (asked ->> 'stage')::uuid, (asked ->> 'enrichment')::uuid, (asked ->> 'sweep')::uuid,
            (asked ->> 'lead')::uuid, (asked ->> 'point')::uuid, asked ->> 'fingerprint', price,
            scope_names, today, asked ->> 'correlation_id', moment);
    UPDATE vendor_inputs AS v
    SET call_id = made, open_since = moment, fresh_until = moment, updated_at = moment
    WHERE v.tenant_id = owner AND v.id = input.id;
    RETURN QUERY SELECT 'reserved', made, NULL::timestamptz, ''::text;
END $$;

-- Note in an account's circuit how a call went. After 20 failures in a row the account is left
-- alone for 5 minutes, then one call tries; each try that fails doubles the pause, up to 64-fold.
CREATE FUNCTION circuit_note(owner uuid, account uuid, told jsonb) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    pause interval := make_interval(secs => (told ->> 'throttled_s')::float);
    is_failure boolean := told ->> 'result' IN ('failed', 'unknown');
    trips boolean := (told ->> 'trips')::boolean;
    now_failed integer;
    old record;
BEGIN
    IF NOT is_failure AND NOT trips AND pause IS NULL THEN
        UPDATE provider_circuits AS p
        SET state = 'closed', failures = 0, tries = 0, opened_at = NULL, probe_at = NULL,
            throttled_until = NULL, last_error = '', updated_at = moment
        WHERE p.tenant_id = owner AND p.integration_id = account
          AND (p.state <> 'closed' OR p.failures > 0 OR p.throttled_until IS NOT NULL);
        RETURN;
    END IF;
    INSERT INTO provider_circuits (tenant_id, id, integration_id, state, failures, last_error)
    VALUES (owner, ulid_new(), account, 'closed', 0, '')
    ON CONFLICT (tenant_id, integration_id) DO NOTHING;
    SELECT p.* INTO old FROM provider_circuits AS p
    WHERE p.tenant_id = owner AND p.integration_id = account FOR NO KEY UPDATE;
    IF pause IS NOT NULL AND NOT is_failure AND NOT trips THEN
        -- Busy is not broken: a probe that meets it is made again later.
        UPDATE provider_circuits AS p
        SET throttled_until = greatest(p.throttled_until, moment + pause), updated_at = moment,
            state = CASE p.state WHEN 'half' THEN 'open' ELSE p.state END,
            probe_at = CASE p.state WHEN 'half' THEN moment + pause ELSE p.probe_at END
        WHERE p.tenant_id = owner AND p.id = old.id;
        RETURN;
    END IF;
    now_failed := old.failures + is_failure::integer;
    UPDATE provider_circuits AS p
    SET failures = now_failed, last_error = left(told ->> 'error', 300), updated_at = moment
    WHERE p.tenant_id = owner AND p.id = old.id;
    IF old.state = 'half' OR old.state = 'closed' AND (trips OR now_failed >= 20) THEN
        UPDATE provider_circuits AS p
        SET state = 'open', opened_at = coalesce(p.opened_at, moment),
            tries = p.tries + (old.state = 'half')::integer,
            probe_at = moment + interval '5 minutes'
                * 2 ^ least(p.tries + (old.state = 'half')::integer, 6)
        WHERE p.tenant_id = owner AND p.id = old.id;
    END IF;
END $$;

-- Write down what became of a paid call and give back what it did not cost. *told*: result, cost
-- (cents), http_status, latency_ms, request_id, error, artifact, fresh_days, was_made, throttled_s,
-- trips. False: it was settled before, or is as unknown as before; nothing was written.
CREATE FUNCTION vendor_settle(owner uuid, paid uuid, told jsonb) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz;
    verdict text := told ->> 'result';
    is_final boolean := told ->> 'result' NOT IN ('pending', 'unknown');
    cost integer := CASE WHEN told ->> 'result' IN ('pending', 'unknown') THEN 0
                         ELSE (told ->> 'cost')::integer END;
    was_made boolean := coalesce((told ->> 'was_made')::boolean, true);
    bought record;
    before text;
    counter record;
BEGIN
    SELECT c.* INTO bought FROM vendor_calls AS c WHERE c.tenant_id = owner AND c.id = paid;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such paid call' USING ERRCODE = 'LD041';
    END IF;
    PERFORM FROM vendor_inputs AS v
    WHERE v.tenant_id = owner AND v.provider = bought.provider AND v.service = bought.service
      AND v.fingerprint = bought.fingerprint
    FOR NO KEY UPDATE;
    SELECT a.result INTO before FROM vendor_answers AS a
    WHERE a.tenant_id = owner AND a.call_id = paid
    ORDER BY a.is_final DESC, a.id DESC LIMIT 1;
    IF before NOT IN ('pending', 'unknown') OR before = verdict
       OR before = 'unknown' AND verdict = 'pending' THEN
        RETURN false;
    END IF;
    moment := clock_timestamp();
    INSERT INTO vendor_answers (tenant_id, id, call_id, result, cost_cents, http_status, latency_ms,
                                request_id, error, artifact_id, at)
    VALUES (owner, ulid_new(), paid, verdict, cost, (told ->> 'http_status')::smallint,
            (told ->> 'latency_ms')::integer, coalesce(told ->> 'request_id', ''),
            coalesce(told ->> 'error', ''), (told ->> 'artifact')::uuid, moment);
    IF is_final THEN
        UPDATE vendor_inputs AS v
        SET open_since = NULL, updated_at = moment,
            fresh_until = moment + make_interval(days => CASE WHEN verdict IN ('hit', 'miss')
                THEN coalesce((told ->> 'fresh_days')::integer, 0) ELSE 0 END)
        WHERE v.tenant_id = owner AND v.call_id = paid AND v.provider = bought.provider
          AND v.service = bought.service AND v.fingerprint = bought.fingerprint;
    END IF;
    IF before IS DISTINCT FROM 'unknown' THEN  -- what a person finds out later says nothing of now
        PERFORM circuit_note(owner, bought.integration_id, told);
    END IF;
    IF NOT is_final OR cost = bought.reserved_cents AND was_made THEN
        RETURN true;
    END IF;
    FOR counter IN
        SELECT n AS scope, p AS period,
               CASE p WHEN 'day' THEN bought.day ELSE date_trunc('month', bought.day)::date END
                   AS starts
        FROM unnest(bought.scopes) AS n CROSS JOIN unnest(ARRAY['day', 'month']) AS p
        ORDER BY n COLLATE "C", p
    LOOP
        -- A vendor that took more than it said is a fact: the cap gives way to it, and is spent.
        UPDATE spend_counters AS s
        SET cents = s.cents + cost - bought.reserved_cents, updated_at = moment,
            calls = s.calls - (NOT was_made)::integer,
            cents_cap = greatest(s.cents_cap, CASE WHEN s.cents_cap IS NOT NULL
                THEN s.cents + cost - bought.reserved_cents END)
        WHERE s.tenant_id = owner AND s.scope = counter.scope AND s.period = counter.period
          AND s.starts = counter.starts;
    END LOOP;
    RETURN true;
END $$;

-- The waterfall. Whether a stage runs is decided here and nowhere else: when a lead's turn has come,
-- in the forecast before a start, and in the what-if over what happened.

-- What is known of leads that a gate may ask for: the score (0 where none was computed), its band,
-- and words: phone (one that may be called), mobile (such a one on a mobile line), email (one that
-- nobody found invalid), mak, apn. A number on a do-not-call list, a litigator's, or somebody
-- else's is not one to reach the lead by.
CREATE FUNCTION waterfall_facts(owner uuid, ids uuid[])
    RETURNS TABLE (lead_id uuid, score integer, band text, known text[])
    LANGUAGE sql STABLE AS $$
    SELECT l.id,
           coalesce((SELECT s.score FROM lead_scores AS s
                     WHERE s.tenant_id = owner AND s.lead_id = l.id), 0)::integer,
           coalesce((SELECT s.band FROM lead_scores AS s
                     WHERE s.tenant_id = owner AND s.lead_id = l.id), 'low')::text,
           ARRAY(
               SELECT DISTINCT word FROM contact_points AS p
               CROSS JOIN LATERAL unnest(CASE
                   WHEN p.kind = 'email' THEN ARRAY['email']
                   WHEN p.line_type = 'mobile' THEN ARRAY['phone', 'mobile']
                   ELSE ARRAY['phone'] END) AS word
               WHERE p.tenant_id = owner AND p.lead_id = l.id AND p.wrong_number_at IS NULL
                 AND p.dnc IS NOT TRUE AND p.litigator IS NOT TRUE AND p.tcpa IS NOT TRUE
                 AND coalesce((SELECT v.verdict FROM verifications AS v
                               WHERE v.tenant_id = owner AND v.point_id = p.id
                               ORDER BY v.id DESC LIMIT 1), '') <> 'invalid'
               UNION ALL SELECT 'mak' WHERE l.mak <> ''
               UNION ALL SELECT 'apn' WHERE l.apn <> ''
               ORDER BY 1)
    FROM leads AS l
    WHERE l.tenant_id = owner AND l.id = ANY (ids)
$$;

-- '' when a stage runs, else why not: stop (the bar of the whole waterfall is met), score, without
-- (all that it could find is known), with (what it needs is not), bands. *stop_at* NULL: no bar.
CREATE FUNCTION waterfall_gate(gate jsonb, stop_at integer, score integer, band text, known text[])
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN score >= stop_at AND NOT coalesce((gate ->> 'always')::boolean, false) THEN 'stop'
        WHEN score >= (gate ->> 'score_below')::integer THEN 'score'
        WHEN jsonb_array_length(gate -> 'without') > 0 AND NOT EXISTS (
            SELECT FROM jsonb_array_elements_text(gate -> 'without') AS w WHERE w <> ALL (known))
            THEN 'without'
        WHEN EXISTS (
            SELECT FROM jsonb_array_elements_text(coalesce(gate -> 'with', '[]')) AS w
            WHERE w <> ALL (known)) THEN 'with'
        WHEN jsonb_array_length(gate -> 'bands') > 0 AND NOT EXISTS (
            SELECT FROM jsonb_array_elements_text(gate -> 'bands') AS b WHERE b = band)
            THEN 'bands'
        ELSE '' END
$$;

-- Phones or e-mails of leads that are worth a look: nobody vouches for them at this moment, and
-- nobody said that they are of no use. At most *most* per lead, the best first.
CREATE FUNCTION waterfall_points(owner uuid, ids uuid[], way text, most integer)
    RETURNS TABLE (lead_id uuid, point_id uuid, address text)
    LANGUAGE sql STABLE AS $$
    SELECT t.lead_id, t.id, t.normalized FROM (
        SELECT p.lead_id, p.id, p.normalized, row_number() OVER (
                   PARTITION BY p.lead_id
                   ORDER BY p.is_primary DESC, p.score DESC NULLS LAST, p.id) AS place
        FROM contact_points AS p
        WHERE p.tenant_id = owner AND p.lead_id = ANY (ids) AND p.kind = way
          AND p.wrong_number_at IS NULL AND p.dnc IS NOT TRUE AND p.litigator IS NOT TRUE
          AND p.tcpa IS NOT TRUE
          AND NOT EXISTS (
              SELECT FROM verifications AS v
              WHERE v.tenant_id = owner AND v.point_id = p.id
                AND (v.expires_at IS NULL OR v.expires_at > clock_timestamp()))
    ) AS t
    WHERE t.place <= most ORDER BY t.lead_id, t.place
$$;

-- How many of these leads would pass each stage's gate by what is known of them now, and how many
-- calls that is at most. *plan*: [{id, kind, gate, provider, service, fresh_days, most}], in order.
-- *kept*: leads for which the same vendor answered within the stage's freshness.
CREATE FUNCTION waterfall_forecast(owner uuid, ids uuid[], plan jsonb, stop_at integer)
    RETURNS TABLE (stage text, runs bigint, calls bigint, kept bigint)
    LANGUAGE sql STABLE AS $$
    WITH facts AS MATERIALIZED (
        SELECT f.* FROM waterfall_facts(owner, ids) AS f
    ), turns AS MATERIALIZED (
        SELECT s.place, s.stage, f.lead_id
        FROM jsonb_array_elements(plan) WITH ORDINALITY AS s (stage, place) CROSS JOIN facts AS f
        WHERE waterfall_gate(s.stage -> 'gate', stop_at, f.score, f.band, f.known) = ''
    )
    SELECT s.stage ->> 'id',
           (SELECT count(*) FROM turns AS t WHERE t.place = s.place),
           CASE s.stage ->> 'kind'
               WHEN 'enrich' THEN (SELECT count(*) FROM turns AS t WHERE t.place = s.place)
               ELSE (SELECT count(*) FROM waterfall_points(
                        owner, ARRAY(SELECT t.lead_id FROM turns AS t WHERE t.place = s.place),
                        CASE s.stage ->> 'kind' WHEN 'verify_email' THEN 'email' ELSE 'phone' END,
                        (s.stage ->> 'most')::integer)) END,
           CASE s.stage ->> 'kind'
               WHEN 'enrich' THEN (SELECT count(*) FROM turns AS t WHERE t.place = s.place
                   AND EXISTS (
                       SELECT FROM vendor_calls AS c
                       JOIN vendor_answers AS a ON a.tenant_id = owner AND a.call_id = c.id
                       WHERE c.tenant_id = owner AND c.lead_id = t.lead_id
                         AND c.provider = s.stage ->> 'provider'
                         AND c.service = s.stage ->> 'service' AND a.result IN ('hit', 'miss')
                         AND a.at > clock_timestamp()
                             - make_interval(days => (s.stage ->> 'fresh_days')::integer)))
               ELSE 0 END
    FROM jsonb_array_elements(plan) WITH ORDINALITY AS s (stage, place)
    ORDER BY s.place
$$;

-- What the newest *most* finished enrichments would have done under another plan, stage by stage:
-- how many had run it, and what that had cost. Each is gone through again from what was known at
-- its beginning; a stage that ran then finds again what it found, one that did not run finds
-- nothing and costs its price: so *cents* is what it had cost at most, *certain* what is known.
-- *plan*: [{id, gate, price}], in order.
CREATE FUNCTION waterfall_what_if(owner uuid, plan jsonb, stop_at integer, most integer)
    RETURNS TABLE (stage text, runs bigint, cents bigint, certain bigint, enrichments bigint)
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    one record;
    part jsonb;
    step jsonb;
    next jsonb;
    score integer;
    band text;
    known text[];
    place integer;
    seen bigint := 0;
    rule record;
    many bigint[] := array_fill(0::bigint, ARRAY[greatest(jsonb_array_length(plan), 1)]);
    cost bigint[] := many;
    sure bigint[] := many;
BEGIN
    SELECT r.contactable_from, r.enriched_from INTO rule FROM score_rule_of(owner) AS r;
    FOR one IN
        SELECT e.steps FROM enrichments AS e
        WHERE e.tenant_id = owner AND e.state = 'done' AND jsonb_array_length(e.steps) > 1
        ORDER BY e.id DESC LIMIT most
    LOOP
        seen := seen + 1;
        score := (one.steps -> 0 ->> 'score')::integer;
        known := ARRAY(SELECT jsonb_array_elements_text(one.steps -> 0 -> 'known'));
        FOR place IN 1 .. jsonb_array_length(plan) LOOP
            part := plan -> (place - 1);
            band := CASE WHEN score >= rule.contactable_from THEN 'contactable'
                         WHEN score >= rule.enriched_from THEN 'enriched' ELSE 'low' END;
            CONTINUE WHEN waterfall_gate(part -> 'gate', stop_at, score, band, known) <> '';
            many[place] := many[place] + 1;
            SELECT s.value, one.steps -> s.place::integer INTO step, next
            FROM jsonb_array_elements(one.steps) WITH ORDINALITY AS s (value, place)
            WHERE s.value ->> 'stage' = part ->> 'id' AND s.value ->> 'did' <> 'gate' LIMIT 1;
            IF NOT FOUND THEN
                cost[place] := cost[place] + (part ->> 'price')::bigint;
                CONTINUE;
            END IF;
            cost[place] := cost[place] + (step ->> 'cents')::bigint;
            sure[place] := sure[place] + (step ->> 'cents')::bigint;
            score := score + (next ->> 'score')::integer - (step ->> 'score')::integer;
            known := ARRAY(
                (SELECT unnest(known)
                 EXCEPT (SELECT jsonb_array_elements_text(step -> 'known')
                         EXCEPT SELECT jsonb_array_elements_text(next -> 'known')))
                UNION (SELECT jsonb_array_elements_text(next -> 'known')
                       EXCEPT SELECT jsonb_array_elements_text(step -> 'known')));
        END LOOP;
    END LOOP;
    FOR place IN 1 .. jsonb_array_length(plan) LOOP
        RETURN QUERY SELECT plan -> (place - 1) ->> 'id', many[place], cost[place], sure[place],
                            seen;
    END LOOP;
END $$;

-- Take enrichments whose time has come, or whose process died: they are the caller's until the
-- lease ends, under the number of the attempt. Never waits for one that is being changed.
CREATE FUNCTION enrichments_claim(owner uuid, most integer, lease_s float)
    RETURNS TABLE (enrichment uuid, attempt smallint)
    LANGUAGE sql AS $$
    WITH due AS MATERIALIZED (  -- looked for once, whatever the plan: else more than *most* go
        SELECT d.id FROM enrichments AS d
        WHERE d.tenant_id = owner AND d.state IN ('queued', 'running', 'parked', 'held')
          AND d.available_at <= clock_timestamp()
          AND (d.lease_until IS NULL OR d.lease_until <= clock_timestamp())
        ORDER BY d.available_at, d.id LIMIT most FOR UPDATE SKIP LOCKED)
    UPDATE enrichments AS e
    SET state = 'running', attempts = least(e.attempts + 1, 32767), updated_at = clock_timestamp(),
        lease_until = clock_timestamp() + make_interval(secs => lease_s)
    FROM due
    WHERE e.tenant_id = owner AND e.id = due.id
    RETURNING e.id, e.attempts
$$;

-- Tenants with enrichments to go on with, or letters of theirs to try again. As the owner, since it
-- looks across tenants; ids only.
CREATE FUNCTION tenants_with_enrichments() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id FROM public.tenants AS t
    WHERE EXISTS (SELECT FROM public.enrichments AS e
                  WHERE e.tenant_id = t.id AND e.state IN ('queued', 'running', 'parked', 'held')
                    AND e.available_at <= clock_timestamp())
       OR EXISTS (SELECT FROM public.dead_letters AS d
                  WHERE d.tenant_id = t.id AND d.status = 'open' AND d.stage IN ('enrich', 'verify')
                    AND d.retry_after IS NOT NULL AND d.retry_after <= clock_timestamp())
       OR EXISTS (SELECT FROM public.vendor_inputs AS v
                  WHERE v.tenant_id = t.id AND v.open_since IS NOT NULL
                    AND v.open_since < clock_timestamp() - interval '5 minutes'
                    AND NOT EXISTS (SELECT FROM public.vendor_answers AS a
                                    WHERE a.tenant_id = v.tenant_id AND a.call_id = v.call_id))
$$;
REVOKE ALL ON FUNCTION tenants_with_enrichments() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenants_with_enrichments() TO fairlead_app;
