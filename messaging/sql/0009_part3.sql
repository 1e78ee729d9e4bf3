-- Filing among leads that merge, texts that come back from a merge, and one text per household.

-- As before. A lead that was merged while the text waited hands on to its survivor; of several
-- leads with the number, the pairs are proposed as one.
CREATE OR REPLACE FUNCTION file_inbound(owner uuid, text_in jsonb)
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
    heir uuid;
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
    -- Locked before it is named: a lead that was merged meanwhile hands on to its survivor.
    LOOP
        SELECT l.state, l.merged_into_id INTO state, heir FROM leads AS l
        WHERE l.tenant_id = owner AND l.id = lead
        FOR NO KEY UPDATE;
        EXIT WHEN heir IS NULL;
        lead := heir;
    END LOOP;
    INSERT INTO messages (tenant_id, id, conversation_id, lead_id, direction, channel, sender,
                          recipient, body, media, provider, external_id, status, error_code,
                          error, is_automated, reading, webhook_event, correlation_id,
                          occurred_at)
    VALUES (owner, message, thread.id, lead, 'in', text_in ->> 'channel',
            text_in ->> 'theirs', text_in ->> 'ours', text_in ->> 'body', text_in -> 'media',
            provider_name, external, 'received', '', '', false, text_in ->> 'reading',
            (text_in ->> 'event')::uuid, correlation, (text_in ->> 'at')::timestamptz);
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
    SET lead_id = lead, last_inbound_at = arrived, last_message_at = arrived, updated_at = arrived,
        waiting_since = CASE WHEN rings THEN coalesce(c.waiting_since, arrived) END,
        status = CASE WHEN rings THEN 'open' ELSE 'done' END, snoozed_until = NULL,
        band = least(c.band, (text_in ->> 'band')::smallint),
        last_snippet = left(text_in ->> 'body', 160)
    WHERE c.tenant_id = owner AND c.id = thread.id;
    -- Several leads have this number: a person says whether they are one.
    PERFORM propose_review(
        owner, lead, rival, 40, jsonb_build_array(jsonb_build_object(
            'field', 'phone', 'agrees', true, 'points', 35,
            'text', 'A text came from a number that both have')),
        'inbound', NULL, NULL, correlation)
    FROM unnest(opened.rivals[:5]) AS rival;
    IF rings THEN
        PERFORM ring(owner, thread.id, thread.stage, thread.assigned_to_id, message);
    END IF;
    INSERT INTO live_events (tenant_id, kind, stage, conversation)
    VALUES (owner, CASE WHEN rings THEN 'inbound' ELSE 'conv' END, thread.stage, thread.id);
    RETURN NEXT;
END $$;

-- Give what came since a merge back to the second lead: conversations with its numbers that are
-- not the first one's, and all texts since in the conversations it has. Returns the texts.
CREATE FUNCTION texts_return(owner uuid, survivor uuid, merged uuid, since timestamptz)
    RETURNS TABLE (message uuid, is_inbound boolean)
    LANGUAGE plpgsql AS $$
BEGIN
    UPDATE conversations AS c SET lead_id = merged
    WHERE c.tenant_id = owner AND c.lead_id = survivor AND c.created_at > since
      AND EXISTS (SELECT FROM contact_points AS p
                  WHERE p.tenant_id = owner AND p.lead_id = merged AND p.kind = 'phone'
                    AND p.normalized = c.their_number)
      AND NOT EXISTS (SELECT FROM contact_points AS p
                      WHERE p.tenant_id = owner AND p.lead_id = survivor AND p.kind = 'phone'
                        AND p.normalized = c.their_number);
    UPDATE outbound_messages AS o SET lead_id = merged
    FROM conversations AS c
    WHERE c.tenant_id = owner AND c.lead_id = merged AND o.tenant_id = owner
      AND o.conversation_id = c.id AND o.lead_id = survivor AND o.created_at > since;
    RETURN QUERY
    UPDATE messages AS m SET lead_id = merged
    FROM conversations AS c
    WHERE c.tenant_id = owner AND c.lead_id = merged AND m.tenant_id = owner
      AND m.conversation_id = c.id AND m.lead_id = survivor AND m.created_at > since
    RETURNING m.id, m.direction = 'in';
END $$;

-- The lead, other than *subject*, that was texted at this number within 24 hours or soon will be;
-- NULL: none. *mine* is the text that asks, once it has a row: it looks at older rows only, and
-- for its own lead.
CREATE FUNCTION household_texted(owner uuid, who text, subject uuid, mine uuid) RETURNS uuid
    LANGUAGE sql STABLE AS $$
    SELECT o.lead_id FROM outbound_messages AS o
    WHERE o.tenant_id = owner AND o.to_address IN (who, consent_address(owner, 'sms', who))
      AND (o.state = 'queued' OR o.claimed_at > clock_timestamp() - interval '24 hours')
      AND o.state IN ('queued', 'sending', 'unknown', 'sent', 'delivered', 'undelivered')
      AND o.purpose NOT IN ('opt_out_confirmation', 'help')
      AND o.lead_id <> coalesce((SELECT me.lead_id FROM outbound_messages AS me
                                 WHERE me.tenant_id = owner AND me.id = mine), subject)
      AND (mine IS NULL OR o.id < mine)
    ORDER BY o.id DESC
    LIMIT 1
$$;
