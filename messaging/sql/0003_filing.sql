-- Filing one inbound text: conversation, lead, message, state, timers, unread, hint.

-- The lead an unknown conversation is about: the one with that contact point, the liveliest of
-- several (the others are named in *rivals*), else a new one: no sender is ever dropped.
CREATE FUNCTION lead_of_sender(owner uuid, theirs text, provider text, correlation text,
                               OUT lead uuid, OUT rivals uuid[])
    LANGUAGE plpgsql AS $$
BEGIN
    SELECT array_agg(found.id ORDER BY found.active DESC NULLS LAST, found.id) INTO rivals
    FROM (SELECT DISTINCT l.id, greatest(l.last_response_at, l.last_attempt_at) AS active
          FROM contact_points AS p
          JOIN leads AS l ON l.tenant_id = p.tenant_id AND l.id = p.lead_id
          WHERE p.tenant_id = owner AND p.normalized = theirs AND p.kind = 'phone'
            AND l.superseded_at IS NULL) AS found;
    lead := rivals[1];
    rivals := rivals[2:];
    IF lead IS NOT NULL THEN
        RETURN;
    END IF;
    lead := ulid_new();
    INSERT INTO leads (tenant_id, id, source, first_name, last_name, full_name, company, title,
                       address_line1, unit, city, region, postal_code, time_zone, state, stage,
                       event_seq, attempt_count)
    VALUES (owner, lead, 'inbound', '', '', '', '', '', '', '', '', '', '', '', 'new',
            'initial_message', 0, 0);
    INSERT INTO lead_events (tenant_id, id, lead_id, seq, kind, to_state, payload, correlation_id)
    VALUES (owner, ulid_new(), lead, 0, 'created', 'new',
            jsonb_build_object('source', 'inbound', 'provider', provider), correlation);
    INSERT INTO contact_points (tenant_id, id, lead_id, kind, raw, normalized, line_type, source,
                                is_primary, verified_by)
    VALUES (owner, ulid_new(), lead, 'phone', theirs, theirs, 'unknown', 'inbound', true, '');
END $$;

-- The stage a new conversation begins in: of the worker whose number received it (of several, the
-- one the lead's state speaks for), else of the lead's state, else the first.
CREATE FUNCTION stage_of_sender(owner uuid, number_worker uuid, lead_state text) RETURNS text
    LANGUAGE sql STABLE AS $$
    SELECT s.key FROM stages AS s
    WHERE s.tenant_id = owner
    ORDER BY (number_worker IS NOT NULL AND s.worker_id = number_worker) DESC,
             s.key = CASE lead_state WHEN 'retargeting' THEN 'retarget'
                 WHEN 'email_captured' THEN 'content_nurture'
                 WHEN 'content_nurture' THEN 'content_nurture'
                 WHEN 'high_intent' THEN 'book_appointment'
                 WHEN 'appointment_booked' THEN 'book_appointment'
                 WHEN 'in_call_queue' THEN 'book_appointment'
                 ELSE 'initial_message' END DESC,
             s.position
    LIMIT 1
$$;

-- The conversation between two numbers, locked; made when missing. *rivals*: see lead_of_sender.
CREATE FUNCTION open_conversation(owner uuid, ours text, theirs text, provider text,
                                  correlation text, OUT conversation uuid, OUT rivals uuid[])
    LANGUAGE plpgsql AS $$
DECLARE
    line record;
    subject uuid;
    subject_state text;
BEGIN
    SELECT c.id INTO conversation FROM conversations AS c
    WHERE c.tenant_id = owner AND c.our_number = ours AND c.their_number = theirs
    FOR NO KEY UPDATE;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT n.id, n.worker_id INTO line FROM phone_numbers AS n
    WHERE n.tenant_id = owner AND n.number = ours;
    SELECT s.lead, s.rivals INTO subject, rivals
    FROM lead_of_sender(owner, theirs, provider, correlation) AS s;
    SELECT l.state INTO subject_state FROM leads AS l WHERE l.tenant_id = owner AND l.id = subject;
    INSERT INTO conversations (tenant_id, id, lead_id, phone_number_id, our_number, their_number,
                               stage, status, band, last_snippet)
    VALUES (owner, ulid_new(), subject, line.id, ours, theirs,
            stage_of_sender(owner, line.worker_id, subject_state), 'open', 1, '')
    RETURNING id INTO conversation;
END $$;

-- Tell the people of a conversation that something arrived: one unread row per person, counting.
-- Everybody active in the stage; once somebody is assigned, only that person.
CREATE FUNCTION ring(owner uuid, thread uuid, inbox text, assignee uuid, about uuid)
    RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    rung integer;
BEGIN
    INSERT INTO notifications (tenant_id, id, actor_id, stage, conversation_id, kind,
                               first_message_id, last_message_id, count, updated_at)
    SELECT owner, ulid_new(), m.actor_id, inbox, thread, 'inbound', about, about, 1,
           clock_timestamp()
    FROM stage_memberships AS m
    JOIN actors AS a ON a.tenant_id = m.tenant_id AND a.id = m.actor_id AND a.is_active
    WHERE m.tenant_id = owner AND m.stage = inbox AND m.role = 'active'
      AND (assignee IS NULL OR m.actor_id = assignee)
    ORDER BY m.actor_id
    ON CONFLICT (tenant_id, actor_id, conversation_id) WHERE read_at IS NULL
    DO UPDATE SET count = notifications.count + 1, last_message_id = about, stage = inbox,
                  updated_at = clock_timestamp();
    GET DIAGNOSTICS rung = ROW_COUNT;
    RETURN rung;
END $$;

-- File one inbound text and all that always follows from it. *text_in*: message (id), event,
-- provider, external_id, ours, theirs, body, media, channel, reading, rings, band, moves, at,
-- correlation_id. A text that was filed before changes nothing: outcome 'duplicate'.
CREATE FUNCTION file_inbound(owner uuid, text_in jsonb)
    RETURNS TABLE (outcome text, message uuid, conversation uuid, lead uuid, stage text,
                   state text)
    LANGUAGE plpgsql AS $$
DECLARE
    provider_name text := text_in ->> 'provider';
    external text := text_in ->> 'external_id';
    correlation text := text_in ->> 'correlation_id';
    rings boolean := (text_in ->> 'rings')::boolean;
    arrived timestamptz := clock_timestamp();
    thread record;
    opened record;
BEGIN
    SELECT 'duplicate', m.id, m.conversation_id, m.lead_id
    INTO outcome, message, conversation, lead
    FROM messages AS m
    WHERE m.tenant_id = owner AND m.provider = provider_name AND m.external_id = external;
    IF FOUND THEN
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT o.conversation, o.rivals INTO opened
    FROM open_conversation(owner, text_in ->> 'ours', text_in ->> 'theirs', provider_name,
                           correlation) AS o;
    SELECT c.id, c.lead_id, c.stage, c.assigned_to_id INTO thread
    FROM conversations AS c WHERE c.tenant_id = owner AND c.id = opened.conversation;
    outcome := 'filed';
    message := (text_in ->> 'message')::uuid;
    conversation := thread.id;
    lead := thread.lead_id;
    stage := thread.stage;
    INSERT INTO messages (tenant_id, id, conversation_id, lead_id, direction, channel, sender,
                          recipient, body, media, provider, external_id, status, error_code,
                          error, is_automated, reading, webhook_event, correlation_id,
                          occurred_at)
    VALUES (owner, message, thread.id, thread.lead_id, 'in', text_in ->> 'channel',
            text_in ->> 'theirs', text_in ->> 'ours', text_in ->> 'body', text_in -> 'media',
            provider_name, external, 'received', '', '', false, text_in ->> 'reading',
            (text_in ->> 'event')::uuid, correlation, (text_in ->> 'at')::timestamptz);
    SELECT l.state INTO state FROM leads AS l
    WHERE l.tenant_id = owner AND l.id = lead
    FOR NO KEY UPDATE;
    PERFORM lead_move(
        owner, lead, 'message_received',
        CASE WHEN (text_in ->> 'moves')::boolean AND state <> 'suppressed'
                  AND lead_may_move(state, 'responded') THEN 'responded' END,
        provider_name || ':' || external || ':received',
        jsonb_build_object('message', ulid_text('msg', message))
        || CASE WHEN opened.rivals <> '{}' THEN jsonb_build_object('also_known_here', opened.rivals)
                ELSE '{}' END,
        NULL, NULL, correlation);
    SELECT l.state INTO state FROM leads AS l WHERE l.tenant_id = owner AND l.id = lead;
    PERFORM lead_cancel_timers(owner, lead, ARRAY['7D', '14D', '30D'], 'reply');
    UPDATE conversations AS c
    SET last_inbound_at = arrived, last_message_at = arrived, updated_at = arrived,
        waiting_since = CASE WHEN rings THEN coalesce(c.waiting_since, arrived) END,
        status = CASE WHEN rings THEN 'open' ELSE 'done' END, snoozed_until = NULL,
        band = least(c.band, (text_in ->> 'band')::smallint),
        last_snippet = left(text_in ->> 'body', 160)
    WHERE c.tenant_id = owner AND c.id = thread.id;
    IF rings THEN
        PERFORM ring(owner, thread.id, thread.stage, thread.assigned_to_id, message);
    END IF;
    INSERT INTO live_events (tenant_id, kind, stage, conversation)
    VALUES (owner, CASE WHEN rings THEN 'inbound' ELSE 'conv' END, thread.stage, thread.id);
    RETURN NEXT;
END $$;
