-- Repair: work that is discarded, events that were pulled, processes that died over an event, and
-- senders whose one URL serves all tenants.

ALTER TABLE webhook_work ADD COLUMN fingerprint text NOT NULL DEFAULT '';
ALTER TABLE webhook_work DROP CONSTRAINT webhook_work_state_check;
ALTER TABLE webhook_work ADD CONSTRAINT webhook_work_state_check
    CHECK (state IN ('ready', 'done', 'dead', 'quarantined', 'discarded'));
ALTER TABLE webhook_events DROP CONSTRAINT webhook_events_signature_state_check;
ALTER TABLE webhook_events ADD CONSTRAINT webhook_events_signature_state_check
    CHECK (signature_state IN ('valid', 'unsigned', 'token', 'pulled'));

-- Finished work stays finished, done or discarded: a replay is a new row with the next run_no.
CREATE OR REPLACE FUNCTION work_guard() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('done', 'discarded') OR NEW.event <> OLD.event
       OR NEW.tenant_id <> OLD.tenant_id OR NEW.run_no <> OLD.run_no OR NEW.lane <> OLD.lane THEN
        RAISE EXCEPTION 'finished work does not change; replay it' USING ERRCODE = 'LD015';
    END IF;
    RETURN NEW;
END $$;

-- Which work a process is doing right now. Written in a transaction of its own before the work,
-- deleted by the work's: a row whose work another process could lock is that of one that died.
-- Lost with a crash of the server, as it should be: that was no event's fault.
CREATE UNLOGGED TABLE work_flights (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    seqs bigint[] NOT NULL,
    server_start timestamptz NOT NULL DEFAULT pg_postmaster_start_time(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ux_work_flights PRIMARY KEY (tenant_id, id)
);
ALTER TABLE work_flights ENABLE ROW LEVEL SECURITY;
ALTER TABLE work_flights FORCE ROW LEVEL SECURITY;
CREATE POLICY work_flights_isolation ON work_flights
    USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));

-- Note that a process begins with these pieces of work. Its own transaction, which need not be
-- durable: a server that crashes takes the work's transaction with it.
CREATE FUNCTION flight_begin(owner uuid, flight uuid, work bigint[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', owner::text, true),
            set_config('synchronous_commit', 'off', true);
    INSERT INTO work_flights (tenant_id, id, seqs) VALUES (owner, flight, work);
END $$;

-- Count a strike for each of the locked pieces of *work* that a dead process was doing; returns
-- them with their strikes. Flights of before a restart of the server count for nothing.
CREATE FUNCTION dead_flights(owner uuid, work bigint[])
    RETURNS TABLE (seq bigint, strikes smallint)
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    WITH dead AS (
        DELETE FROM work_flights AS f WHERE f.tenant_id = owner AND f.seqs && work
        RETURNING f.seqs, f.server_start
    ), struck AS (
        SELECT one AS seq, count(*)::smallint AS n
        FROM dead CROSS JOIN LATERAL unnest(dead.seqs) AS one
        WHERE dead.server_start = pg_postmaster_start_time()
        GROUP BY one
    )
    UPDATE webhook_work AS w SET strikes = w.strikes + s.n
    FROM struck AS s
    WHERE w.tenant_id = owner AND w.seq = s.seq AND w.seq = ANY (work) AND w.state = 'ready'
    RETURNING w.seq, w.strikes;
END $$;

-- As before, but *target*: the integration the event belongs to, where that is not the source's
-- own (one URL for all tenants: the source is the platform's, the event a tenant's).
DROP FUNCTION take_delivery(uuid, uuid, uuid, uuid, text, bytea, bytea, uuid, text, text, text,
    boolean, timestamptz, bytea, jsonb, jsonb, text, text, text, text, text, jsonb);
CREATE FUNCTION take_delivery(
    owner uuid, tenant uuid, integration_id uuid, endpoint_id uuid, provider text,
    delivery_key bytea, hash bytea, event_id uuid, kind text, lane_text text,
    theirs text, inbound boolean, happened timestamptz, raw bytea, parsed jsonb, kept_headers jsonb,
    token_hash text, signed text, parse text, correlation text, withhold text, choices jsonb,
    target uuid DEFAULT NULL,
    OUT outcome text, OUT taken uuid)
    LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE
    arrived timestamptz := clock_timestamp();
    known record;
    place bigint;
    choice jsonb;
BEGIN
    PERFORM set_config('app.tenant_id', owner::text, true);
    IF EXISTS (SELECT FROM webhook_endpoints
               WHERE tenant_id = owner AND id = endpoint_id AND retired_at <= arrived) THEN
        outcome := 'retired';
        RETURN;
    END IF;
    outcome := 'new';
    INSERT INTO webhook_receipts (tenant_id, source, idem_key, body_hash, event, received_at)
    VALUES (owner, integration_id, delivery_key, hash, event_id, arrived)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT body_hash, event INTO known FROM webhook_receipts
        WHERE tenant_id = owner AND source = integration_id AND idem_key = delivery_key;
        IF known.body_hash = hash THEN
            outcome := 'duplicate';
            taken := known.event;
            RETURN;
        END IF;
        outcome := 'clash';
        INSERT INTO webhook_receipts (tenant_id, source, idem_key, body_hash, event, received_at)
        VALUES (owner, integration_id, sha256(delivery_key || hash), hash, event_id, arrived)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT event INTO taken FROM webhook_receipts
            WHERE tenant_id = owner AND source = integration_id
              AND idem_key = sha256(delivery_key || hash);
            outcome := 'duplicate';
            RETURN;
        END IF;
        withhold := 'same delivery key as ' || ulid_text('wh', known.event) || ', other body';
    END IF;
    IF tenant <> owner THEN
        PERFORM set_config('app.tenant_id', tenant::text, true);
    END IF;
    INSERT INTO webhook_events (tenant_id, id, received_at, integration, endpoint, source,
                                event_type, lane, occurred_at, body, payload, headers,
                                attempt_token_hash, signature_state, parse_state, correlation_id)
    VALUES (tenant, event_id, arrived, coalesce(target, integration_id), endpoint_id, provider,
            kind, lane_text, happened, raw, parsed, kept_headers, token_hash, signed, parse,
            correlation);
    INSERT INTO webhook_work (tenant_id, event, received_at, lane, their_number, is_inbound, state,
                              available_at, last_error)
    VALUES (tenant, event_id, arrived, lane_text, theirs, inbound,
            CASE WHEN withhold IS NULL THEN 'ready' ELSE 'quarantined' END, arrived,
            coalesce(withhold, ''))
    RETURNING seq INTO place;
    IF withhold IS NOT NULL THEN
        INSERT INTO work_events (tenant_id, id, work, what, reason, correlation_id)
        VALUES (tenant, ulid_new(), place, 'quarantine', withhold, correlation);
    ELSIF choices IS NOT NULL THEN
        FOR choice IN SELECT * FROM jsonb_array_elements(choices) LOOP
            PERFORM consent_apply(tenant, choice || jsonb_build_object(
                'webhook_event', event_id, 'position', place, 'correlation_id', correlation));
        END LOOP;
    END IF;
    taken := event_id;
END $$;

-- The tenants and integrations that say they are *account* at a vendor with one URL for all. As the
-- owner: before this no tenant is known. Two rows mean that nobody can tell whose it is.
CREATE FUNCTION tenant_of_account(vendor text, account text)
    RETURNS TABLE (tenant_id uuid, integration_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.tenant_id, i.id FROM public.integrations AS i
    WHERE i.provider = vendor AND i.account_id = account
      AND i.tenant_id <> '00000000-0000-0000-0000-000000000001'
    LIMIT 2
$$;
REVOKE ALL ON FUNCTION tenant_of_account(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_of_account(text, text) TO fairlead_app;
CREATE INDEX integrations_account ON integrations (provider, account_id)
    WHERE account_id IS NOT NULL;

-- The field mappings of an integration as a provider is given them, in their order; NULL: none.
CREATE FUNCTION mappings_of(owner uuid, account uuid) RETURNS jsonb
    LANGUAGE sql STABLE AS $$
    SELECT jsonb_agg(jsonb_build_object(
               'module', m.module, 'source', m.source_path, 'target', m.target_field,
               'transform', m.transform, 'default', m."default", 'required', m.required)
           ORDER BY m.module, m.position, m.id)
    FROM public.field_mappings AS m
    WHERE m.tenant_id = owner AND m.integration_id = account
$$;

-- As before, with what the provider is configured with: settings and field mappings.
DROP FUNCTION endpoint_by_token(text);
CREATE FUNCTION endpoint_by_token(hash text)
    RETURNS TABLE (tenant_id uuid, endpoint_id uuid, integration_id uuid, provider text,
                   signed boolean, our_number text, retired boolean, enabled boolean, secret text,
                   previous_secret text, previous_valid_until timestamptz, settings jsonb,
                   mappings jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.tenant_id, e.id, i.id, i.provider, e.signed, e.our_number,
           coalesce(e.retired_at <= clock_timestamp(), false), i.enabled, i.secret,
           i.previous_secret, i.previous_valid_until, i.settings,
           public.mappings_of(i.tenant_id, i.id)
    FROM public.webhook_endpoints AS e
    JOIN public.integrations AS i ON i.tenant_id = e.tenant_id AND i.id = e.integration_id
    WHERE e.token_hash = hash
$$;
REVOKE ALL ON FUNCTION endpoint_by_token(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION endpoint_by_token(text) TO fairlead_app;

-- As before, with the strikes of each piece of work.
DROP FUNCTION claim_work(uuid, text, integer, integer);
CREATE FUNCTION claim_work(owner uuid, start text, lanes integer, depth integer)
    RETURNS TABLE (seq bigint, lane text, event uuid, received_at timestamptz, attempts smallint,
                   run_no smallint, is_inbound boolean, their_number text, strikes smallint)
    LANGUAGE plpgsql AS $$
DECLARE
    here text := start;
    head record;
    mine bigint;
    got integer := 0;
BEGIN
    LOOP
        SELECT w.lane, w.seq, w.available_at INTO head FROM webhook_work AS w
        WHERE w.tenant_id = owner AND w.state = 'ready' AND w.lane > here
        ORDER BY w.tenant_id, w.lane, w.seq LIMIT 1;
        EXIT WHEN NOT FOUND;
        here := head.lane;
        CONTINUE WHEN head.available_at > clock_timestamp();
        SELECT w.seq INTO mine FROM webhook_work AS w
        WHERE w.tenant_id = owner AND w.seq = head.seq AND w.state = 'ready'
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        RETURN QUERY
            SELECT w.seq, w.lane, w.event, w.received_at, w.attempts, w.run_no, w.is_inbound,
                   w.their_number, w.strikes
            FROM webhook_work AS w
            WHERE w.tenant_id = owner AND w.state = 'ready' AND w.lane = head.lane
              AND w.seq >= head.seq
            ORDER BY w.seq LIMIT depth
            FOR UPDATE;
        got := got + 1;
        EXIT WHEN got >= lanes;
    END LOOP;
END $$;
