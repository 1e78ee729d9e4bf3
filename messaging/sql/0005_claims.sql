-- Unknown sends that people decide, what is known of each number's health, caps per brand.

DROP INDEX outbound_by_provider_id;  -- ux_outbound_provider_id answers the same question

UPDATE outbound_messages AS o SET segments = m.segments
FROM messages AS m
WHERE m.tenant_id = o.tenant_id AND m.id = o.message_id AND o.state = 'queued' AND m.segments > 1;

-- As before. Now it also knows the ways back: a person sends an unknown or failed text again
-- (``resends`` counts, ``resent_by`` says who; nobody who opted out), and a text that was given up
-- because nobody could tell (``gave_up_at``) becomes what it turns out to be.
CREATE OR REPLACE FUNCTION outbound_gate() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    base record;
    block text;
    our_number text;
    resent boolean := false;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        resent := NEW.state = 'queued' AND OLD.state IN ('unknown', 'failed');
        IF NEW.to_address <> OLD.to_address OR NEW.send_key <> OLD.send_key
           OR NEW.body <> OLD.body OR NEW.purpose <> OLD.purpose
           OR NEW.segments <> OLD.segments
           OR NEW.consent_event_id IS DISTINCT FROM OLD.consent_event_id THEN
            RAISE EXCEPTION 'an outbound message keeps its recipient, body and purpose'
                USING ERRCODE = 'LD003';
        END IF;
        IF NEW.resends <> OLD.resends + resent::integer
           OR (NEW.resent_by_id IS DISTINCT FROM OLD.resent_by_id AND NOT resent)
           OR (resent AND NEW.resent_by_id IS NULL) THEN
            RAISE EXCEPTION 'only a person sends a text again, once each time'
                USING ERRCODE = 'LD003';
        END IF;
        IF resent AND OLD.purpose = 'opt_out_confirmation' THEN
            RAISE EXCEPTION 'the confirmation of an opt-out is not sent again'
                USING ERRCODE = 'LD003';
        END IF;
        IF NEW.gave_up_at IS NOT NULL AND OLD.gave_up_at IS NULL
           AND NOT (OLD.state = 'unknown' AND NEW.state = 'failed') THEN
            RAISE EXCEPTION 'only an unknown is given up' USING ERRCODE = 'LD003';
        END IF;
        IF NEW.state <> OLD.state AND NOT (NEW.state = ANY (CASE OLD.state
            WHEN 'queued' THEN ARRAY['sending', 'suppressed', 'cancelled', 'failed']
                -- an attempt thought unwritten turns out to have been taken
                || CASE WHEN OLD.attempt > 0 THEN ARRAY['sent', 'delivered', 'undelivered'] END
            WHEN 'sending' THEN ARRAY['queued', 'sent', 'delivered', 'undelivered', 'failed',
                                      'unknown', 'suppressed', 'cancelled']
            WHEN 'unknown' THEN ARRAY['sent', 'delivered', 'undelivered', 'failed', 'queued']
            -- given up because nobody could tell: now somebody does
            WHEN 'failed' THEN ARRAY['queued'] || CASE
                WHEN OLD.gave_up_at IS NOT NULL AND OLD.decided_at IS NULL
                THEN ARRAY['sent', 'delivered', 'undelivered'] END
            WHEN 'sent' THEN ARRAY['delivered', 'undelivered', 'failed']
            ELSE ARRAY[]::text[] END)) THEN
            RAISE EXCEPTION 'an outbound message does not go from % to %', OLD.state, NEW.state
                USING ERRCODE = 'LD003';
        END IF;
    ELSIF NEW.state NOT IN ('queued', 'sending') AND current_user = 'fairlead_app'
          AND coalesce(current_setting('app.history', true), '') <> 'on' THEN
        RAISE EXCEPTION 'an outbound message begins queued' USING ERRCODE = 'LD003';
    END IF;
    IF NOT resent
       AND (NEW.state <> 'sending' OR (TG_OP = 'UPDATE' AND OLD.state = 'sending')) THEN
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
    IF NEW.state = 'sending' THEN
        NEW.consent_rev := base.rev;
    END IF;
    RETURN NEW;
END $$;

-- As before; down only to what the outbox row says after somebody reopened it.
CREATE OR REPLACE FUNCTION message_guard() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.body <> OLD.body OR NEW.direction <> OLD.direction OR NEW.sender <> OLD.sender
       OR NEW.recipient <> OLD.recipient OR NEW.conversation_id <> OLD.conversation_id
       OR (OLD.external_id IS NOT NULL AND NEW.external_id IS DISTINCT FROM OLD.external_id) THEN
        RAISE EXCEPTION 'a message keeps what was said' USING ERRCODE = 'LD004';
    END IF;
    IF NEW.status <> OLD.status AND message_rank(NEW.status) <= message_rank(OLD.status)
       AND NOT EXISTS (
           SELECT FROM outbound_messages AS o
           WHERE o.tenant_id = NEW.tenant_id AND o.message_id = NEW.id
             AND OLD.status IN ('unknown', 'failed')
             AND NEW.status = CASE o.state WHEN 'sending' THEN 'queued' ELSE o.state END
             AND (o.resends > 0 OR o.gave_up_at IS NOT NULL)) THEN
        RAISE EXCEPTION 'the status of a message only moves up: % to %', OLD.status, NEW.status
            USING ERRCODE = 'LD004';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION outbound_mirror() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    shown text := CASE NEW.state WHEN 'sending' THEN 'queued' ELSE NEW.state END;
    -- sent again by a person, or known after it was given up
    reopened boolean := OLD.state = 'failed' OR NEW.resends > OLD.resends;
BEGIN
    UPDATE messages AS m
    SET status = shown, error = NEW.error, error_code = NEW.error_code,
        external_id = coalesce(m.external_id, nullif(NEW.provider_message_id, ''))
    WHERE m.tenant_id = NEW.tenant_id AND m.id = NEW.message_id
      AND (message_rank(shown) > message_rank(m.status) OR reopened AND shown <> m.status);
    IF FOUND THEN
        INSERT INTO live_events (tenant_id, kind, stage, conversation)
        SELECT c.tenant_id, 'status', c.stage, c.id FROM conversations AS c
        WHERE c.tenant_id = NEW.tenant_id AND c.id = NEW.conversation_id;
    END IF;
    RETURN NULL;
END $$;

-- A number that wakes forgets why it rested, and starts with a clean record.
CREATE FUNCTION phone_number_wakes() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> 'resting' THEN
        NEW.resting_reason := '';
        NEW.resting_until := NULL;
        IF OLD.status = 'resting' THEN
            NEW.active_since := clock_timestamp();
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER phone_numbers_wake
    BEFORE UPDATE OF status ON phone_numbers
    FOR EACH ROW EXECUTE FUNCTION phone_number_wakes();

-- Count one thing that happened on a number, on the tenant's day. A counter has as many rows as
-- writers met at once: each takes one that nobody holds and never waits, so counting cannot slow
-- down or deadlock what is counted. Rows from before the number last woke are closed.
CREATE FUNCTION number_count(owner uuid, line uuid, what jsonb, code text, review boolean)
    RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    on_day date;
    since timestamptz;
    part uuid;
BEGIN
    SELECT (clock_timestamp() AT TIME ZONE t.time_zone)::date, n.active_since INTO on_day, since
    FROM phone_numbers AS n JOIN tenants AS t ON t.id = n.tenant_id
    WHERE n.tenant_id = owner AND n.id = line;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT d.id INTO part FROM number_days AS d
    WHERE d.tenant_id = owner AND d.phone_number_id = line AND d.day = on_day
      AND (since IS NULL OR d.created_at >= since)
    ORDER BY d.id LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        part := ulid_new();
        INSERT INTO number_days (tenant_id, id, phone_number_id, day, created_at, sent, delivered,
                                 undelivered, failed, refused, filtered, opt_outs, unknown,
                                 inbound, codes, needs_review)
        VALUES (owner, part, line, on_day, clock_timestamp(), 0, 0, 0, 0, 0, 0, 0, 0, 0, '{}',
                false);
    END IF;
    UPDATE number_days AS d
    SET sent = d.sent + coalesce((what ->> 'sent')::integer, 0),
        delivered = d.delivered + coalesce((what ->> 'delivered')::integer, 0),
        undelivered = d.undelivered + coalesce((what ->> 'undelivered')::integer, 0),
        failed = d.failed + coalesce((what ->> 'failed')::integer, 0),
        refused = d.refused + coalesce((what ->> 'refused')::integer, 0),
        filtered = d.filtered + coalesce((what ->> 'filtered')::integer, 0),
        opt_outs = d.opt_outs + coalesce((what ->> 'opt_outs')::integer, 0),
        unknown = d.unknown + coalesce((what ->> 'unknown')::integer, 0),
        inbound = d.inbound + coalesce((what ->> 'inbound')::integer, 0),
        codes = CASE WHEN code = '' THEN d.codes ELSE d.codes
            || jsonb_build_object(code, coalesce((d.codes ->> code)::integer, 0) + 1) END,
        needs_review = d.needs_review OR review
    WHERE d.tenant_id = owner AND d.id = part;
END $$;

-- Whatever changes the state of a text counts: every door, in its own transaction. A text that was
-- given up is no failure of its number; it has been counted as unknown.
CREATE FUNCTION outbound_counts() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    lost boolean := NEW.state IN ('undelivered', 'failed') AND NEW.gave_up_at IS NULL;
BEGIN
    IF lost THEN
        PERFORM number_count(
            NEW.tenant_id, NEW.phone_number_id,
            jsonb_build_object(
                NEW.state, 1,
                'refused', (OLD.state IN ('sending', 'unknown', 'queued'))::integer,
                'filtered', (NEW.error_class = 'filtered')::integer),
            NEW.error_code, true);
    ELSIF NEW.state IN ('sent', 'delivered', 'unknown') THEN
        PERFORM number_count(NEW.tenant_id, NEW.phone_number_id,
                             jsonb_build_object(NEW.state, 1), '', false);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER outbound_messages_count
    AFTER UPDATE OF state ON outbound_messages
    FOR EACH ROW WHEN (NEW.state <> OLD.state AND NEW.state <> 'sending')
    EXECUTE FUNCTION outbound_counts();

CREATE FUNCTION inbound_counts() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    line uuid;
    stops boolean := NEW.reading = 'opt_out';
BEGIN
    SELECT n.id INTO line FROM phone_numbers AS n
    WHERE n.tenant_id = NEW.tenant_id AND n.number = NEW.recipient;
    IF FOUND THEN
        PERFORM number_count(NEW.tenant_id, line,
                             jsonb_build_object('inbound', 1, 'opt_outs', stops::integer),
                             '', stops);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_count
    AFTER INSERT ON messages
    FOR EACH ROW WHEN (NEW.direction = 'in') EXECUTE FUNCTION inbound_counts();

-- What always follows when a text is out: nobody waits in its conversation any more (for a person's
-- answer to what was there), its lead has one more event and attempt. Tells whether it was the first
-- touch of a new lead: then timers are due.
CREATE FUNCTION text_accepted(owner uuid, outbound uuid, correlation text) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    text_out record;
    confirms boolean;
    touches boolean;
BEGIN
    SELECT o.* INTO text_out FROM outbound_messages AS o
    WHERE o.tenant_id = owner AND o.id = outbound;
    confirms := text_out.purpose = 'opt_out_confirmation';
    UPDATE conversations AS c
    SET last_outbound_at = clock_timestamp(), updated_at = clock_timestamp(),
        waiting_since = CASE WHEN NOT text_out.is_automated
            AND coalesce(c.last_inbound_at <= text_out.created_at, true)
            THEN NULL ELSE c.waiting_since END
    WHERE c.tenant_id = owner AND c.id = text_out.conversation_id;
    SELECT l.state = 'new' AND NOT confirms INTO touches FROM leads AS l
    WHERE l.tenant_id = owner AND l.id = text_out.lead_id
    FOR NO KEY UPDATE;
    PERFORM lead_move(
        owner, text_out.lead_id, 'text_sent', CASE WHEN touches THEN 'touched' END,
        ulid_text('obm', outbound) || ':sent',
        jsonb_build_object('message', ulid_text('msg', text_out.message_id),
                           'purpose', text_out.purpose),
        NULL, text_out.actor_id, correlation);
    IF NOT confirms THEN
        UPDATE leads SET attempt_count = attempt_count + 1, last_attempt_at = clock_timestamp(),
               updated_at = clock_timestamp()
        WHERE tenant_id = owner AND id = text_out.lead_id;
    END IF;
    RETURN touches;
END $$;

-- As before: lock numbers, then the tenant's day, then the brand's, then each recipient's consent.
-- Nobody waits for a brand's day: whose it is counts exactly, the others look again. A text takes
-- as many of the brand's segments as it has; where it does not fit, a shorter one goes. What an
-- operator discarded is handled: automation waits for it no longer.
CREATE OR REPLACE FUNCTION claim_sends(owner uuid, most integer)
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
    pacific date := (clock_timestamp() AT TIME ZONE 'America/Los_Angeles')::date;
    brand record;
    left_of_brand integer;
    spent integer;
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
        left_of_brand := NULL;
        spent := 0;
        IF line.brand_id IS NOT NULL THEN
            INSERT INTO brand_days (tenant_id, id, brand_id, day, used, cap)
            SELECT owner, ulid_new(), b.id, pacific, 0, b.daily_segment_cap FROM brands AS b
            WHERE b.tenant_id = owner AND b.id = line.brand_id
            ON CONFLICT (tenant_id, brand_id, day) DO NOTHING;
            SELECT d.id, b.daily_segment_cap AS cap, b.daily_segment_cap - d.used AS free INTO brand
            FROM brand_days AS d
            JOIN brands AS b ON b.tenant_id = d.tenant_id AND b.id = d.brand_id
            WHERE d.tenant_id = owner AND d.brand_id = line.brand_id AND d.day = pacific
            FOR NO KEY UPDATE OF d SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            left_of_brand := brand.free;
        END IF;
        bucket := least(line.burst, line.tokens + line.rate_per_second
                        * extract(epoch FROM clock_timestamp() - line.refilled_at));
        IF line.day IS DISTINCT FROM today THEN
            line.sent_today := 0;
        END IF;
        room := least(floor(bucket)::integer, line.daily_cap - line.sent_today, left_today,
                      most - got);
        FOR item IN
            SELECT o.id, o.to_address, o.is_automated, o.purpose, o.segments
            FROM outbound_messages AS o
            WHERE o.tenant_id = owner AND o.phone_number_id = line.id AND o.state = 'queued'
              AND o.due_at <= clock_timestamp()
              AND coalesce(o.segments <= left_of_brand, true)
            ORDER BY o.due_at, o.id LIMIT greatest(room, 0)
            FOR UPDATE SKIP LOCKED
        LOOP
            CONTINUE WHEN item.segments > left_of_brand - spent;
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
                  AND w.state <> 'done' AND w.state <> 'discarded' AND w.is_inbound)) THEN
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
            spent := spent + item.segments;
            RETURN NEXT;
        END LOOP;
        UPDATE phone_numbers
        SET tokens = greatest(bucket, 0), refilled_at = clock_timestamp(), day = today,
            sent_today = line.sent_today
        WHERE tenant_id = owner AND id = line.id;
        UPDATE daily_sends SET sent = cap - left_today
        WHERE tenant_id = owner AND day = today;
        IF left_of_brand IS NOT NULL AND spent > 0 THEN
            UPDATE brand_days SET used = used + spent, cap = brand.cap
            WHERE tenant_id = owner AND id = brand.id;
        END IF;
    END LOOP;
END $$;

-- As before, and with look-ups that are due, unknowns of a day, numbers to review or to wake.
CREATE OR REPLACE FUNCTION tenants_with_sends(lease interval) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id FROM public.tenants AS t
    WHERE EXISTS (SELECT FROM public.outbound_messages AS o
                  WHERE o.tenant_id = t.id AND o.state = 'queued'
                    AND o.due_at <= clock_timestamp())
       OR EXISTS (SELECT FROM public.outbound_messages AS o
                  WHERE o.tenant_id = t.id AND o.state IN ('sending', 'unknown')
                    AND CASE o.state WHEN 'sending' THEN o.claimed_at <= clock_timestamp() - lease
                        ELSE least(o.retry_at, o.look_at, o.claimed_at + interval '24 hours')
                             <= clock_timestamp() END)
       OR EXISTS (SELECT FROM public.number_days AS d
                  WHERE d.tenant_id = t.id AND d.needs_review)
       OR EXISTS (SELECT FROM public.phone_numbers AS n
                  WHERE n.tenant_id = t.id AND n.status = 'resting'
                    AND n.resting_until <= clock_timestamp())
$$;
