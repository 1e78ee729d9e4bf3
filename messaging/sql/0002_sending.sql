-- The gate of every send, and the claim that passes it.

CREATE INDEX outbound_by_provider_id ON outbound_messages (tenant_id, provider_message_id)
    WHERE provider_message_id <> '';

-- Why automation or a person may not text an address now: 'opted_out', 'held' or NULL for "may".
-- The caller holds the base row's lock where the answer must stay true.
CREATE FUNCTION consent_block(owner uuid, who text, our_number text, automated boolean)
    RETURNS text
    LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN bool_or(state = 'opted_out') THEN 'opted_out'
                WHEN automated AND bool_or(state = 'held') THEN 'held' END
    FROM consents
    WHERE tenant_id = owner AND channel = 'sms' AND address = who
      AND scope IN ('', 'number:' || our_number)
$$;

-- Nothing enters 'sending' for an opted-out address, from whatever door. The base consent row is
-- locked first, so an opt-out commits either before this (and is seen) or after it (and meets a
-- text in flight). The one exception: the confirmation of an opt-out, within five minutes of it.
-- The state moves forward only.
CREATE FUNCTION outbound_gate() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    base record;
    block text;
    our_number text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.to_address <> OLD.to_address OR NEW.send_key <> OLD.send_key
           OR NEW.body <> OLD.body OR NEW.purpose <> OLD.purpose
           OR NEW.consent_event_id IS DISTINCT FROM OLD.consent_event_id THEN
            RAISE EXCEPTION 'an outbound message keeps its recipient, body and purpose'
                USING ERRCODE = 'LD003';
        END IF;
        IF NEW.state <> OLD.state AND NOT (NEW.state = ANY (CASE OLD.state
            WHEN 'queued' THEN ARRAY['sending', 'suppressed', 'cancelled', 'failed']
                -- an attempt thought unwritten turns out to have been taken
                || CASE WHEN OLD.attempt > 0 THEN ARRAY['sent', 'delivered', 'undelivered'] END
            WHEN 'sending' THEN ARRAY['queued', 'sent', 'delivered', 'undelivered', 'failed',
                                      'unknown', 'suppressed', 'cancelled']
            WHEN 'unknown' THEN ARRAY['sent', 'delivered', 'undelivered', 'failed']
            WHEN 'sent' THEN ARRAY['delivered', 'undelivered', 'failed']
            ELSE ARRAY[]::text[] END)) THEN
            RAISE EXCEPTION 'an outbound message does not go from % to %', OLD.state, NEW.state
                USING ERRCODE = 'LD003';
        END IF;
    ELSIF NEW.state NOT IN ('queued', 'sending') AND current_user = 'fairlead_app'
          AND coalesce(current_setting('app.history', true), '') <> 'on' THEN
        RAISE EXCEPTION 'an outbound message begins queued' USING ERRCODE = 'LD003';
    END IF;
    IF NEW.state <> 'sending' OR (TG_OP = 'UPDATE' AND OLD.state = 'sending') THEN
        RETURN NEW;
    END IF;
    SELECT c.state, c.rev INTO base FROM consents AS c
    WHERE c.tenant_id = NEW.tenant_id AND c.channel = 'sms' AND c.address = NEW.to_address
      AND c.scope = ''
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no consent row for the recipient' USING ERRCODE = 'LD002';
    END IF;
    SELECT number INTO our_number FROM phone_numbers
    WHERE tenant_id = NEW.tenant_id AND id = NEW.phone_number_id;
    block := consent_block(NEW.tenant_id, NEW.to_address, our_number, NEW.is_automated);
    IF block IS NOT NULL AND NOT (
        NEW.purpose = 'opt_out_confirmation' AND EXISTS (
            SELECT FROM consent_events AS e
            JOIN consents AS c ON c.tenant_id = e.tenant_id AND c.id = e.consent_id
            WHERE e.tenant_id = NEW.tenant_id AND e.id = NEW.consent_event_id
              AND e.kind = 'opt_out' AND c.address = NEW.to_address
              AND e.at > clock_timestamp() - interval '5 minutes')) THEN
        RAISE EXCEPTION 'the recipient is %', replace(block, '_', ' ') USING ERRCODE = 'LD001';
    END IF;
    NEW.consent_rev := base.rev;
    RETURN NEW;
END $$;
CREATE TRIGGER outbound_messages_gate
    BEFORE INSERT OR UPDATE ON outbound_messages
    FOR EACH ROW EXECUTE FUNCTION outbound_gate();

-- How far a message's status has come; an equal or lower rank never replaces it.
CREATE FUNCTION message_rank(status text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE status WHEN 'received' THEN 0 WHEN 'queued' THEN 0 WHEN 'unknown' THEN 1
                       WHEN 'sent' THEN 2 ELSE 3 END;

CREATE FUNCTION message_guard() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.body <> OLD.body OR NEW.direction <> OLD.direction OR NEW.sender <> OLD.sender
       OR NEW.recipient <> OLD.recipient OR NEW.conversation_id <> OLD.conversation_id
       OR (OLD.external_id IS NOT NULL AND NEW.external_id IS DISTINCT FROM OLD.external_id) THEN
        RAISE EXCEPTION 'a message keeps what was said' USING ERRCODE = 'LD004';
    END IF;
    IF NEW.status <> OLD.status AND message_rank(NEW.status) <= message_rank(OLD.status) THEN
        RAISE EXCEPTION 'the status of a message only moves up: % to %', OLD.status, NEW.status
            USING ERRCODE = 'LD004';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER messages_guard
    BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION message_guard();

-- The message in the thread mirrors the state of its outbox row, and open pages are told.
CREATE FUNCTION outbound_mirror() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    shown text := CASE NEW.state WHEN 'sending' THEN 'queued' ELSE NEW.state END;
BEGIN
    UPDATE messages AS m
    SET status = shown, error = NEW.error,
        external_id = coalesce(m.external_id, nullif(NEW.provider_message_id, ''))
    WHERE m.tenant_id = NEW.tenant_id AND m.id = NEW.message_id
      AND message_rank(shown) > message_rank(m.status);
    IF FOUND THEN
        INSERT INTO live_events (tenant_id, kind, stage, conversation)
        SELECT c.tenant_id, 'status', c.stage, c.id FROM conversations AS c
        WHERE c.tenant_id = NEW.tenant_id AND c.id = NEW.conversation_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER outbound_messages_mirror
    AFTER UPDATE OF state ON outbound_messages
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION outbound_mirror();

-- Stop what is queued to an address; texts in flight are marked. Returns how many were stopped.
CREATE FUNCTION suppress_queued(owner uuid, who text, why text) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    stopped integer;
BEGIN
    UPDATE outbound_messages
    SET state = 'suppressed', error = why, updated_at = clock_timestamp()
    WHERE tenant_id = owner AND to_address = who AND state = 'queued'
      AND purpose <> 'opt_out_confirmation';
    GET DIAGNOSTICS stopped = ROW_COUNT;
    UPDATE outbound_messages SET sent_before_stop = true, updated_at = clock_timestamp()
    WHERE tenant_id = owner AND to_address = who AND state IN ('sending', 'unknown')
      AND purpose <> 'opt_out_confirmation';
    RETURN stopped;
END $$;

-- Claim up to *most* due texts of a tenant: lock numbers (each row is token bucket and daily
-- counter), then the tenant's day, then each recipient's consent. Every row lock of a recipient or
-- text is SKIP LOCKED: whoever is being changed right now, by a STOP perhaps, stays queued.
-- An automated text waits while an inbound of its recipient is not fully handled, on any of our
-- numbers. Returns the claimed rows, now 'sending'; the caller adds their attempts before it
-- commits.
CREATE FUNCTION claim_sends(owner uuid, most integer)
    RETURNS TABLE (outbound uuid, attempt smallint, consent_rev integer)
    LANGUAGE plpgsql AS $$
DECLARE
    zone text;
    today date;
    limit_of_day integer;
    left_today integer;
    line record;
    item record;
    bucket double precision;
    room integer;
    block text;
    got integer := 0;
BEGIN
    SELECT t.time_zone, t.daily_send_limit INTO zone, limit_of_day
    FROM tenants AS t WHERE t.id = owner;
    today := (clock_timestamp() AT TIME ZONE zone)::date;
    FOR line IN
        SELECT n.* FROM phone_numbers AS n
        JOIN integrations AS i ON i.tenant_id = n.tenant_id AND i.id = n.integration_id
        WHERE n.tenant_id = owner AND n.status = 'active' AND i.enabled
          AND coalesce(n.throttled_until <= clock_timestamp(), true)
          AND EXISTS (SELECT FROM outbound_messages AS o
                      WHERE o.tenant_id = owner AND o.phone_number_id = n.id
                        AND o.state = 'queued' AND o.due_at <= clock_timestamp())
        ORDER BY random()
        FOR NO KEY UPDATE OF n SKIP LOCKED
    LOOP
        EXIT WHEN got >= most;
        INSERT INTO daily_sends (tenant_id, id, day, sent, cap)
        VALUES (owner, ulid_new(), today, 0, limit_of_day)
        ON CONFLICT (tenant_id, day) DO NOTHING;
        SELECT d.cap - d.sent INTO left_today FROM daily_sends AS d
        WHERE d.tenant_id = owner AND d.day = today
        FOR NO KEY UPDATE;
        bucket := least(line.burst, line.tokens + line.rate_per_second
                        * extract(epoch FROM clock_timestamp() - line.refilled_at));
        IF line.day IS DISTINCT FROM today THEN
            line.sent_today := 0;
        END IF;
        room := least(floor(bucket)::integer, line.daily_cap - line.sent_today, left_today,
                      most - got);
        FOR item IN
            SELECT o.id, o.to_address, o.is_automated, o.purpose
            FROM outbound_messages AS o
            WHERE o.tenant_id = owner AND o.phone_number_id = line.id AND o.state = 'queued'
              AND o.due_at <= clock_timestamp()
            ORDER BY o.due_at, o.id LIMIT greatest(room, 0)
            FOR UPDATE SKIP LOCKED
        LOOP
            PERFORM FROM consents AS c
            WHERE c.tenant_id = owner AND c.channel = 'sms' AND c.address = item.to_address
              AND c.scope = ''
            FOR NO KEY UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            block := CASE WHEN item.purpose = 'opt_out_confirmation' THEN NULL ELSE
                consent_block(owner, item.to_address, line.number, item.is_automated) END;
            IF block = 'opted_out' THEN
                UPDATE outbound_messages SET state = 'suppressed', error = 'opted out',
                       updated_at = clock_timestamp()
                WHERE tenant_id = owner AND id = item.id;
                CONTINUE;
            END IF;
            IF block = 'held' OR (item.is_automated AND item.purpose NOT IN
                                  ('opt_out_confirmation', 'help') AND EXISTS (
                SELECT FROM webhook_work AS w
                WHERE w.tenant_id = owner AND w.their_number = item.to_address
                  AND w.state <> 'done' AND w.is_inbound)) THEN
                UPDATE outbound_messages SET due_at = clock_timestamp() + interval '2 seconds'
                WHERE tenant_id = owner AND id = item.id;
                CONTINUE;
            END IF;
            IF item.purpose = 'opt_out_confirmation' AND NOT EXISTS (
                SELECT FROM outbound_messages AS o
                JOIN consent_events AS e
                  ON e.tenant_id = o.tenant_id AND e.id = o.consent_event_id
                WHERE o.tenant_id = owner AND o.id = item.id
                  AND e.at > clock_timestamp() - interval '5 minutes') THEN
                UPDATE outbound_messages SET state = 'cancelled',
                       error = 'too late to confirm an opt-out', updated_at = clock_timestamp()
                WHERE tenant_id = owner AND id = item.id;
                CONTINUE;
            END IF;
            got := got + 1;
            UPDATE outbound_messages AS o
            SET state = 'sending', attempt = o.attempt + 1, claimed_at = clock_timestamp(),
                consent_rev = 0, updated_at = clock_timestamp()
            WHERE o.tenant_id = owner AND o.id = item.id
            RETURNING o.id, o.attempt, o.consent_rev INTO outbound, attempt, consent_rev;
            line.sent_today := line.sent_today + 1;
            left_today := left_today - 1;
            bucket := bucket - 1;
            RETURN NEXT;
        END LOOP;
        UPDATE phone_numbers
        SET tokens = greatest(bucket, 0), refilled_at = clock_timestamp(), day = today,
            sent_today = line.sent_today
        WHERE tenant_id = owner AND id = line.id;
        UPDATE daily_sends SET sent = cap - left_today
        WHERE tenant_id = owner AND day = today;
    END LOOP;
END $$;

-- Tenants with texts to claim, repeat or give up on. As the owner, across tenants; ids only.
CREATE FUNCTION tenants_with_sends(lease interval) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id FROM public.tenants AS t
    WHERE EXISTS (SELECT FROM public.outbound_messages AS o
                  WHERE o.tenant_id = t.id AND o.state = 'queued'
                    AND o.due_at <= clock_timestamp())
       OR EXISTS (SELECT FROM public.outbound_messages AS o
                  WHERE o.tenant_id = t.id AND o.state IN ('sending', 'unknown')
                    AND CASE o.state WHEN 'sending' THEN o.claimed_at <= clock_timestamp() - lease
                        ELSE o.retry_at <= clock_timestamp() END)
$$;

-- Tenants with a snoozed conversation whose time has come. As the owner; ids only.
CREATE FUNCTION tenants_with_wakes() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id FROM public.tenants AS t
    WHERE EXISTS (SELECT FROM public.conversations AS c
                  WHERE c.tenant_id = t.id AND c.status = 'snoozed'
                    AND c.snoozed_until <= clock_timestamp())
$$;
REVOKE ALL ON FUNCTION tenants_with_wakes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenants_with_wakes() TO fairlead_app;

-- Live hints after *after*, oldest first, of all tenants: the follower of a web process hands
-- them to the pages that may see them. As the owner; ids only.
CREATE FUNCTION live_events_after(after bigint, most integer)
    RETURNS TABLE (seq bigint, tenant_id uuid, kind text, stage text, conversation_id uuid,
                   actor_id uuid, created_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.seq, e.tenant_id, e.kind, e.stage, e.conversation, e.actor, e.created_at
    FROM public.live_events AS e
    WHERE e.seq > after
    ORDER BY e.seq LIMIT most
$$;

-- Delete hints older than *age*; returns how many. As the owner: the application deletes nothing.
CREATE FUNCTION prune_live_events(age interval DEFAULT '48 hours') RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pruned bigint;
BEGIN
    DELETE FROM public.live_events
    WHERE created_at < clock_timestamp() - greatest(age, interval '1 hour');
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END $$;

CREATE FUNCTION live_seq() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(max(seq), 0) FROM public.live_events
$$;
REVOKE ALL ON FUNCTION tenants_with_sends(interval), live_events_after(bigint, integer),
    prune_live_events(interval), live_seq() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenants_with_sends(interval), live_events_after(bigint, integer),
    prune_live_events(interval), live_seq() TO fairlead_app;
REVOKE UPDATE, DELETE ON live_events FROM fairlead_app;
