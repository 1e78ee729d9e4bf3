-- The state machine of a lead, and the one home of consent.

-- Legal moves. leads/states.py says the same; a test compares the two.
INSERT INTO lead_transitions (from_state, to_state, version)
SELECT move[1], move[2], 1
FROM (
    SELECT string_to_array(line, ' ') AS move
    FROM unnest(ARRAY[
        'new touched', 'new responded',
        'touched retargeting', 'touched responded', 'touched closed',
        'retargeting responded', 'retargeting content_nurture', 'retargeting closed',
        'responded soft_interest', 'responded email_captured', 'responded content_nurture',
        'responded high_intent', 'responded appointment_booked', 'responded in_call_queue',
        'responded closed',
        'soft_interest email_captured', 'soft_interest content_nurture',
        'soft_interest high_intent', 'soft_interest appointment_booked',
        'soft_interest in_call_queue', 'soft_interest closed',
        'email_captured content_nurture', 'email_captured high_intent',
        'email_captured appointment_booked', 'email_captured in_call_queue',
        'email_captured closed',
        'content_nurture email_captured', 'content_nurture high_intent',
        'content_nurture appointment_booked', 'content_nurture in_call_queue',
        'content_nurture closed',
        'high_intent content_nurture', 'high_intent appointment_booked',
        'high_intent in_call_queue', 'high_intent closed',
        'appointment_booked content_nurture', 'appointment_booked in_call_queue',
        'appointment_booked closed',
        'in_call_queue content_nurture', 'in_call_queue high_intent',
        'in_call_queue appointment_booked', 'in_call_queue closed',
        'closed responded', 'suppressed responded'
    ]) AS line
) AS moves;
INSERT INTO lead_transitions (from_state, to_state, version)
SELECT DISTINCT from_state, 'suppressed', 1 FROM lead_transitions WHERE from_state <> 'suppressed';
-- The machine is every tenant's: a migration changes it, nothing that runs as the app.
REVOKE INSERT, UPDATE, DELETE ON lead_transitions FROM fairlead_app;

-- The state of a lead is that of its newest event: the event carries it over, and nothing else may.
CREATE FUNCTION lead_follows_event() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    UPDATE leads
    SET state = NEW.to_state,
        event_seq = NEW.seq,
        last_response_at = CASE WHEN NEW.kind = 'message_received' THEN NEW.at
                                ELSE last_response_at END,
        updated_at = clock_timestamp()
    WHERE tenant_id = NEW.tenant_id AND id = NEW.lead_id;
    RETURN NULL;
END $$;
CREATE TRIGGER lead_events_carry_state
    AFTER INSERT ON lead_events
    FOR EACH ROW WHEN (NEW.seq > 0) EXECUTE FUNCTION lead_follows_event();

CREATE FUNCTION lead_guard() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.event_seq < OLD.event_seq
       OR (NEW.state <> OLD.state AND NEW.event_seq = OLD.event_seq) THEN
        RAISE EXCEPTION 'the state of a lead moves only with its next event'
            USING ERRCODE = 'LD011';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER leads_guard
    BEFORE UPDATE ON leads
    FOR EACH ROW
    WHEN (NEW.state IS DISTINCT FROM OLD.state OR NEW.event_seq IS DISTINCT FROM OLD.event_seq)
    EXECUTE FUNCTION lead_guard();

-- Whether the machine has this move; a move to the present state is a no-op and always legal.
CREATE FUNCTION lead_may_move(here text, there text) RETURNS boolean
    LANGUAGE sql STABLE AS $$
    SELECT here = there
        OR EXISTS (SELECT FROM lead_transitions WHERE from_state = here AND to_state = there)
$$;

-- Add the next event of a lead and so move it: to *there*, or nowhere when that is NULL.
-- Locks the lead until the transaction ends. Returns the event's seq, or NULL when *dedupe* was
-- seen before; an illegal move breaks fk_lead_events_move.
CREATE FUNCTION lead_move(owner uuid, subject uuid, what text, there text, dedupe text,
                          details jsonb, cause_consent uuid, who uuid, correlation text)
    RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    here record;
    added integer;
BEGIN
    SELECT state, event_seq INTO here
    FROM leads WHERE tenant_id = owner AND id = subject
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such lead' USING ERRCODE = 'LD012';
    END IF;
    INSERT INTO lead_events (tenant_id, id, lead_id, seq, kind, from_state, to_state, payload,
                             dedupe_key, consent_event_id, actor_id, correlation_id, at)
    VALUES (owner, ulid_new(), subject, here.event_seq + 1, what, here.state,
            coalesce(there, here.state), details, dedupe, cause_consent, who, correlation,
            clock_timestamp())
    ON CONFLICT (tenant_id, dedupe_key) DO NOTHING
    RETURNING seq INTO added;
    RETURN added;
END $$;

-- Cancel the live timers of a lead, all kinds or those named; returns how many.
CREATE FUNCTION lead_cancel_timers(owner uuid, subject uuid, kinds text[], reason text)
    RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    cancelled integer;
BEGIN
    UPDATE lead_timers SET cancelled_at = clock_timestamp(), cancel_reason = reason
    WHERE tenant_id = owner AND lead_id = subject AND fired_at IS NULL AND cancelled_at IS NULL
      AND (kinds IS NULL OR kind = ANY (kinds));
    GET DIAGNOSTICS cancelled = ROW_COUNT;
    RETURN cancelled;
END $$;

-- The base consent row of an address, made when it is missing. It is not locked.
CREATE FUNCTION consent_base(owner uuid, way text, who text) RETURNS uuid
    LANGUAGE plpgsql AS $$
DECLARE
    found_id uuid;
BEGIN
    SELECT id INTO found_id FROM consents
    WHERE tenant_id = owner AND channel = way AND address = who AND scope = '';
    IF found_id IS NULL THEN
        INSERT INTO consents (tenant_id, id, channel, address, scope, state, rev, position)
        VALUES (owner, ulid_new(), way, who, '', 'unknown', 0, 0)
        ON CONFLICT (tenant_id, channel, address, scope) DO NOTHING;
        SELECT id INTO found_id FROM consents
        WHERE tenant_id = owner AND channel = way AND address = who AND scope = '';
    END IF;
    RETURN found_id;
END $$;

-- Record a choice and what follows from it. *choice*: channel, address, scope, kind (opt_out,
-- opt_in, hold, release), source, keyword, reason, webhook_event, position, actor, correlation_id;
-- all text or absent. Rules: an opt-out always wins; a hold never weakens an opt-out; a release
-- only ends a hold; an opt-in lifts only an opt-out or hold with an earlier position (its own 0: by
-- a person, who has seen what there is).
-- The base row is locked first, whatever the scope. Returns the event's id, or NULL when the same
-- webhook event was recorded before.
CREATE FUNCTION consent_apply(owner uuid, choice jsonb) RETURNS uuid
    LANGUAGE plpgsql AS $$
DECLARE
    way text := coalesce(choice ->> 'channel', 'sms');
    who text := choice ->> 'address';
    part text := coalesce(choice ->> 'scope', '');
    what text := choice ->> 'kind';
    place bigint := coalesce((choice ->> 'position')::bigint, 0);
    evidence uuid := (choice ->> 'webhook_event')::uuid;
    row_now record;
    next_state text;
    event_id uuid := ulid_new();
BEGIN
    PERFORM consent_base(owner, way, who);
    PERFORM FROM consents
    WHERE tenant_id = owner AND channel = way AND address = who AND scope = ''
    FOR NO KEY UPDATE;
    IF part <> '' THEN
        INSERT INTO consents (tenant_id, id, channel, address, scope, state, rev, position)
        VALUES (owner, ulid_new(), way, who, part, 'unknown', 0, 0)
        ON CONFLICT (tenant_id, channel, address, scope) DO NOTHING;
    END IF;
    SELECT id, state, rev, position INTO row_now FROM consents
    WHERE tenant_id = owner AND channel = way AND address = who AND scope = part
    FOR NO KEY UPDATE;
    IF evidence IS NOT NULL AND EXISTS (
        SELECT FROM consent_events
        WHERE tenant_id = owner AND consent_id = row_now.id AND webhook_event = evidence
          AND kind = what) THEN
        RETURN NULL;
    END IF;
    next_state := CASE what
        WHEN 'opt_out' THEN 'opted_out'
        WHEN 'hold' THEN CASE WHEN row_now.state = 'opted_out' THEN 'opted_out' ELSE 'held' END
        WHEN 'release' THEN CASE WHEN row_now.state = 'held' THEN 'unknown' ELSE row_now.state END
        WHEN 'opt_in' THEN CASE
            WHEN row_now.state IN ('opted_out', 'held') AND place > 0 AND place < row_now.position
            THEN row_now.state ELSE 'opted_in' END
    END;
    IF next_state IS NULL THEN
        RAISE EXCEPTION 'unknown kind of consent: %', what USING ERRCODE = 'LD013';
    END IF;
    INSERT INTO consent_events (tenant_id, id, consent_id, rev, kind, state, source, keyword,
                                reason, webhook_event, position, actor_id, correlation_id, at)
    VALUES (owner, event_id, row_now.id, row_now.rev + 1, what, next_state,
            coalesce(choice ->> 'source', 'manual'), left(coalesce(choice ->> 'keyword', ''), 160),
            coalesce(choice ->> 'reason', ''), evidence, place, (choice ->> 'actor')::uuid,
            coalesce(choice ->> 'correlation_id', ''), clock_timestamp());
    UPDATE consents
    SET state = next_state, rev = row_now.rev + 1, updated_at = clock_timestamp(),
        position = CASE WHEN what IN ('opt_out', 'hold') THEN greatest(row_now.position, place)
                        ELSE row_now.position END
    WHERE tenant_id = owner AND id = row_now.id;
    RETURN event_id;
END $$;

-- Consent moves forward, one event at a time.
CREATE FUNCTION consent_guard() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.address <> OLD.address OR NEW.channel <> OLD.channel OR NEW.scope <> OLD.scope THEN
        RAISE EXCEPTION 'a consent row keeps its address' USING ERRCODE = 'LD014';
    END IF;
    IF NEW.rev NOT IN (OLD.rev, OLD.rev + 1) OR NEW.position < OLD.position
       OR ((NEW.state, NEW.position) IS DISTINCT FROM (OLD.state, OLD.position)
           AND NEW.rev = OLD.rev) THEN
        RAISE EXCEPTION 'consent changes only with its next event' USING ERRCODE = 'LD014';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER consents_guard
    BEFORE UPDATE ON consents FOR EACH ROW EXECUTE FUNCTION consent_guard();

-- Tenants with a timer that is due. As the owner, since it looks across tenants; ids only.
CREATE FUNCTION tenants_with_timers() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id FROM public.tenants AS t
    WHERE EXISTS (SELECT FROM public.lead_timers AS m
                  WHERE m.tenant_id = t.id AND m.fired_at IS NULL AND m.cancelled_at IS NULL
                    AND m.fire_at <= clock_timestamp())
$$;
REVOKE ALL ON FUNCTION tenants_with_timers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenants_with_timers() TO fairlead_app;
