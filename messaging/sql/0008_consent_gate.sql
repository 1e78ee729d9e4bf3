-- Consent, completely: scopes and lists in the gate, rules as data, lists by the hundred thousand,
-- and the one UPDATE that an erasure allows.

-- Every text to an address: for limits per day, dossiers and erasure.
CREATE INDEX outbound_by_address ON outbound_messages (tenant_id, to_address, id);

-- --- the gate ---------------------------------------------------------------------------------

-- As before, and: rows of suppression lists block until they end, whatever the base row says;
-- *scopes* are further ones that the text falls under, such as brand:… or campaign:….
CREATE FUNCTION consent_block(owner uuid, who text, our_number text, automated boolean,
                              scopes text[]) RETURNS text
    LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN bool_or(state = 'opted_out') THEN 'opted_out'
                WHEN automated AND bool_or(state = 'held') THEN 'held' END
    FROM consents
    WHERE tenant_id = owner AND channel = 'sms'
      AND address = consent_address(owner, 'sms', who)
      AND (scope IN ('', 'number:' || our_number) OR scope = ANY (scopes)
           OR (scope LIKE 'list:%' AND coalesce(expires_at > clock_timestamp(), true)))
$$;
CREATE OR REPLACE FUNCTION consent_block(owner uuid, who text, our_number text, automated boolean)
    RETURNS text
    LANGUAGE sql STABLE AS $$
    SELECT consent_block(owner, who, our_number, automated, '{}')
$$;

-- Whether a redaction lets this one row change from *was* to *becomes*: blanked whole, its ids,
-- kinds, hashes and times kept, and only where the row is of the erased address and as old as the
-- redaction. Nothing else changes history. Names are in full: it also runs as the owner.
CREATE FUNCTION redaction_covers(tbl text, was jsonb, becomes jsonb) RETURNS boolean
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    tenant uuid := (was ->> 'tenant_id')::uuid;
    made constant text[] := ARRAY['prev_seq', 'moved_from', 'lifted'];  -- generated afterwards
    who text;
    hash text;
    blank jsonb;
BEGIN
    CASE
        WHEN tbl = 'messages' THEN
            who := CASE was ->> 'direction' WHEN 'in' THEN 'sender' ELSE 'recipient' END;
            hash := public.address_digest(was ->> who);
            blank := jsonb_build_object('body', '', 'media', '[]'::jsonb, 'error', '', who, hash);
        WHEN tbl = 'outbound_messages' THEN
            hash := public.address_digest(was ->> 'to_address');
            blank := jsonb_build_object('body', '', 'error', '', 'to_address', hash);
        WHEN tbl = 'consent_events' THEN
            SELECT c.address INTO hash FROM public.consents AS c
            WHERE c.tenant_id = tenant AND c.id = (was ->> 'consent_id')::uuid;
            blank := jsonb_build_object('reason', '', 'keyword', '');
        WHEN tbl = 'lead_events' THEN
            hash := public.address_digest(coalesce(was #>> '{payload,address}',
                                                     was #>> '{payload,mobile}'));
            blank := jsonb_build_object('payload', (was -> 'payload') - ARRAY['address', 'mobile']);
        WHEN tbl = 'webhook_work' THEN
            who := was ->> 'their_number';
            hash := public.address_digest(who);
            blank := jsonb_build_object('their_number', hash, 'last_error', '', 'outcome', '',
                                        'lane', replace(was ->> 'lane', who, hash));
        WHEN tbl LIKE 'webhook\_events%' THEN
            SELECT w.their_number INTO who FROM public.webhook_work AS w
            WHERE w.tenant_id = tenant AND w.event = (was ->> 'id')::uuid LIMIT 1;
            hash := public.address_digest(who);
            blank := jsonb_build_object(
                'body', '\x', 'payload', NULL, 'lane', replace(was ->> 'lane', who, hash),
                'headers', '{"content-type": "application/x-erased"}'::jsonb);
        ELSE
            RETURN false;
    END CASE;
    RETURN becomes <> was AND becomes - made = (was || blank) - made
       AND EXISTS (
           SELECT FROM public.redactions AS r
           WHERE r.tenant_id = tenant AND r.digest = hash
             AND r.at >= coalesce(was ->> 'received_at', was ->> 'created_at')::timestamptz);
END $$;

-- As before, but for what a redaction covers. Deleting and truncating stay refused, always.
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF public.redaction_covers(TG_TABLE_NAME, to_jsonb(OLD), to_jsonb(NEW)) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', tg_table_name, lower(tg_op)
        USING ERRCODE = 'LD010';
END $$;

-- As before, but for a redaction.
CREATE OR REPLACE FUNCTION message_guard() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.body <> OLD.body OR NEW.direction <> OLD.direction OR NEW.sender <> OLD.sender
       OR NEW.recipient <> OLD.recipient OR NEW.conversation_id <> OLD.conversation_id
       OR (OLD.external_id IS NOT NULL AND NEW.external_id IS DISTINCT FROM OLD.external_id))
       AND NOT redaction_covers('messages', to_jsonb(OLD), to_jsonb(NEW)) THEN
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

-- The functions of other files that find people by address, as those files left them, with one
-- expression changed: they find an erased person by the hash. A text that is gone is an error.
CREATE PROCEDURE patch_function(name text, old_text text, new_text text)
    LANGUAGE plpgsql AS $$
DECLARE
    source text;
BEGIN
    SELECT pg_get_functiondef(p.oid) INTO STRICT source FROM pg_proc AS p
    WHERE p.pronamespace = 'public'::regnamespace AND p.proname = name;
    IF position(old_text IN source) = 0 THEN
        RAISE EXCEPTION '% no longer says %', name, old_text;
    END IF;
    EXECUTE replace(source, old_text, new_text);
END $$;
CALL patch_function('claim_sends', 'c.address = item.to_address',
                    'c.address = consent_address(owner, ''sms'', item.to_address)');
CALL patch_function('outbound_gate', 'c.address = NEW.to_address',
                    'c.address = consent_address(NEW.tenant_id, ''sms'', NEW.to_address)');
CALL patch_function('outbound_gate', 'IF TG_OP = ''UPDATE'' THEN',
                    E'IF TG_OP = ''UPDATE'' AND NEW.to_address <> OLD.to_address AND'
                    ' redaction_covers(''outbound_messages'', to_jsonb(OLD), to_jsonb(NEW)) THEN'
                    '\n        RETURN NEW;\n    END IF;\n    IF TG_OP = ''UPDATE'' THEN');
CALL patch_function('work_guard', E'BEGIN\n',
                    E'BEGIN\n    IF NEW.their_number <> OLD.their_number AND'
                    ' redaction_covers(''webhook_work'', to_jsonb(OLD), to_jsonb(NEW)) THEN'
                    '\n        RETURN NEW;\n    END IF;\n');
DROP PROCEDURE patch_function;

-- Blank what append-only tables hold of an address that a redaction names. As the owner, for the
-- application may not change history; it touches the tenant that was entered and no other.
-- Returns how many rows were blanked.
CREATE FUNCTION redact_history(owner uuid, who text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hash constant text := public.address_digest(who);
    blanked bigint := 0;
    more bigint;
BEGIN
    IF owner IS DISTINCT FROM nullif(current_setting('app.tenant_id', true), '')::uuid
       OR NOT EXISTS (SELECT FROM public.redactions AS r
                      WHERE r.tenant_id = owner AND r.digest = hash) THEN
        RAISE EXCEPTION 'no redaction allows this' USING ERRCODE = 'LD018';
    END IF;
    UPDATE public.webhook_events AS e
    SET body = '\x', payload = NULL, lane = replace(e.lane, who, hash),
        headers = '{"content-type": "application/x-erased"}'
    FROM public.webhook_work AS w
    WHERE w.tenant_id = owner AND w.their_number = who AND w.run_no = 1
      AND e.tenant_id = owner AND e.id = w.event AND e.received_at = w.received_at
      AND e.body <> '\x';
    GET DIAGNOSTICS blanked = ROW_COUNT;
    UPDATE public.consent_events AS e SET reason = '', keyword = ''
    FROM public.consents AS c
    WHERE c.tenant_id = owner AND c.address = hash
      AND e.tenant_id = owner AND e.consent_id = c.id AND (e.reason <> '' OR e.keyword <> '');
    GET DIAGNOSTICS more = ROW_COUNT;
    blanked := blanked + more;
    UPDATE public.lead_events AS e SET payload = e.payload - ARRAY['address', 'mobile']
    WHERE e.tenant_id = owner AND coalesce(e.payload ->> 'address', e.payload ->> 'mobile') = who
      AND e.lead_id IN (SELECT p.lead_id FROM public.contact_points AS p
                        WHERE p.tenant_id = owner AND p.normalized = who
                        UNION SELECT v.lead_id FROM public.conversations AS v
                        WHERE v.tenant_id = owner AND v.their_number = who);
    GET DIAGNOSTICS more = ROW_COUNT;
    RETURN blanked + more;
END $$;
REVOKE ALL ON FUNCTION redact_history(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION redact_history(uuid, text) TO fairlead_app;

-- Erase an address of a tenant: its consents keep the hash and go on to block; what was said to
-- and by it is blanked wherever it is. Returns the redaction.
CREATE FUNCTION erase_address(owner uuid, who text, why text, actor uuid, correlation text)
    RETURNS uuid
    LANGUAGE plpgsql AS $$
DECLARE
    hash constant text := address_digest(who);
    redaction uuid := ulid_new();
BEGIN
    PERFORM consent_base(owner, 'sms', who);
    PERFORM FROM consents
    WHERE tenant_id = owner AND address IN (who, hash) AND scope = ''
    ORDER BY id FOR NO KEY UPDATE;
    INSERT INTO redactions (tenant_id, id, digest, reason, actor_id, correlation_id, at)
    VALUES (owner, redaction, hash, why, actor, correlation, clock_timestamp());
    UPDATE consents SET address = hash WHERE tenant_id = owner AND address = who;
    PERFORM redact_history(owner, who);
    UPDATE webhook_work
    SET their_number = hash, lane = replace(lane, who, hash), last_error = '', outcome = ''
    WHERE tenant_id = owner AND their_number = who;
    UPDATE outbound_messages SET state = 'cancelled', error = '', updated_at = clock_timestamp()
    WHERE tenant_id = owner AND to_address = who AND state = 'queued';
    UPDATE outbound_messages SET body = '', error = '', to_address = hash
    WHERE tenant_id = owner AND to_address = who;
    UPDATE messages AS m
    SET body = '', media = '[]', error = '',
        sender = CASE m.direction WHEN 'in' THEN hash ELSE m.sender END,
        recipient = CASE m.direction WHEN 'in' THEN m.recipient ELSE hash END
    FROM conversations AS v
    WHERE v.tenant_id = owner AND v.their_number = who
      AND m.tenant_id = owner AND m.conversation_id = v.id
      AND who IN (m.sender, m.recipient);
    UPDATE drafts AS d SET body = '' FROM conversations AS v
    WHERE v.tenant_id = owner AND v.their_number = who
      AND d.tenant_id = owner AND d.conversation_id = v.id;
    UPDATE conversations
    SET their_number = hash, last_snippet = '', status = 'done', waiting_since = NULL,
        snoozed_until = NULL, updated_at = clock_timestamp()
    WHERE tenant_id = owner AND their_number = who;
    UPDATE contact_points SET normalized = hash, raw = '' WHERE tenant_id = owner AND normalized = who;
    UPDATE external_ids SET phone = hash WHERE tenant_id = owner AND phone = who;
    DELETE FROM suppression_rows
    WHERE address = who AND list_id IN (SELECT id FROM suppression_lists WHERE tenant_id = owner);
    RETURN redaction;
END $$;

-- --- contact rules ----------------------------------------------------------------------------

CREATE FUNCTION contact_rule_version() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER contact_rules_version
    BEFORE UPDATE ON contact_rules FOR EACH ROW EXECUTE FUNCTION contact_rule_version();

-- What is known of hours and limits, for a tenant that has no rule yet. Not legal advice: every row
-- says where it is from and when it was read there.
CREATE FUNCTION seed_contact_rules(owner uuid) RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO contact_rules (tenant_id, id, jurisdiction, weekday, start, "end", max_per_24h,
                               source, reviewed_on, is_active, version)
    SELECT owner, ulid_new(), jurisdiction, weekday, first, last, most, origin, '2026-11-01',
           true, 1
    FROM (VALUES
        ('US', NULL::smallint, 8, 21, NULL::smallint, '47 CFR 64.1200(c)(1)'),
        ('US-FL', NULL, 8, 20, 3, 'Fla. Stat. 501.616(6)'),
        ('US-OK', NULL, 8, 20, 3, 'Oklahoma Telephone Solicitation Act, as told by dnc.com'),
        ('US-WA', NULL, 8, 20, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-MD', NULL, 8, 20, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-NJ', NULL, 8, 20, NULL, 'Guide to state calling hours, 2025-11-01; not confirmed'),
        ('US-MA', NULL, 8, 20, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-AL', NULL, 8, 20, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-AL', 6, 0, 0, NULL, 'Guide to state calling hours, 2025-11-01: not on Sunday'),
        ('US-LA', NULL, 8, 20, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-LA', 6, 0, 0, NULL, 'Guide to state calling hours, 2025-11-01: not on Sunday'),
        ('US-MS', NULL, 8, 20, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-MS', 6, 0, 0, NULL, 'Guide to state calling hours, 2025-11-01: not on Sunday'),
        ('US-CT', NULL, 9, 20, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-TX', NULL, 9, 21, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-TX', 6, 12, 21, NULL, 'Guide to state calling hours, 2025-11-01: Sunday from noon'),
        ('US-MI', NULL, 9, 21, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-MN', NULL, 9, 21, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-NM', NULL, 9, 21, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-NV', NULL, 9, 20, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-KY', NULL, 10, 21, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-RI', NULL, 9, 18, NULL, 'Guide to state calling hours, 2025-11-01'),
        ('US-RI', 5, 10, 17, NULL, 'Guide to state calling hours, 2025-11-01: Saturday'),
        ('US-RI', 6, 10, 17, NULL, 'Guide to state calling hours, 2025-11-01: Sunday')
    ) AS seeds (jurisdiction, weekday, first, last, most, origin)
    WHERE NOT EXISTS (SELECT FROM contact_rules AS r WHERE r.tenant_id = owner)
$$;
SELECT seed_contact_rules(id) FROM tenants;

-- The rules that apply in these jurisdictions, as a verdict takes them, and the version of the table.
CREATE FUNCTION contact_rules_of(owner uuid, places text[]) RETURNS jsonb
    LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'version', coalesce(sum(r.version), 0),
        'rules', coalesce(jsonb_agg(jsonb_build_array(r.jurisdiction, r.weekday, r.start, r."end",
                                                      r.max_per_24h)
                                    ORDER BY r.jurisdiction, r.weekday)
                          FILTER (WHERE r.is_active AND r.jurisdiction = ANY (places)), '[]'))
    FROM contact_rules AS r WHERE r.tenant_id = owner
$$;

-- When an address was texted in the last 24 hours, over all our numbers: oldest first. *mine*: a
-- text that asks for itself, which counts only those claimed before it.
CREATE FUNCTION texted_at(owner uuid, who text, mine uuid) RETURNS timestamptz[]
    LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(o.claimed_at ORDER BY o.claimed_at), '{}')
    FROM outbound_messages AS o
    LEFT JOIN outbound_messages AS me ON me.tenant_id = owner AND me.id = mine
    WHERE o.tenant_id = owner AND o.to_address IN (who, consent_address(owner, 'sms', who))
      AND o.claimed_at > clock_timestamp() - interval '24 hours'
      AND o.state IN ('sending', 'unknown', 'sent', 'delivered', 'undelivered')
      AND o.purpose NOT IN ('opt_out_confirmation', 'help')
      AND (me.id IS NULL OR (o.claimed_at, o.id) < (me.claimed_at, me.id))
$$;

-- --- suppression lists ------------------------------------------------------------------------

-- Rows of a file on their way into the registry. No row-level security, which COPY refuses: the id
-- of the list, which belongs to one tenant, stands in every query.
CREATE TABLE suppression_rows (
    list_id uuid NOT NULL,
    line integer NOT NULL,
    raw text NOT NULL,
    address text NOT NULL,
    problem text NOT NULL DEFAULT '',
    outcome text NOT NULL CHECK (outcome IN ('ready', 'invalid', 'duplicate', 'applied')),
    is_known boolean NOT NULL DEFAULT false,
    CONSTRAINT ux_suppression_rows PRIMARY KEY (list_id, line)
);
CREATE INDEX suppression_rows_ready ON suppression_rows (list_id, line) WHERE outcome = 'ready';

-- Look at the rows of a list without changing anything else: which are repeated, which are blocked
-- already. Returns the counts.
CREATE FUNCTION suppression_check(owner uuid, list uuid, way text,
                                  OUT total bigint, OUT fresh bigint, OUT known bigint,
                                  OUT invalid bigint, OUT duplicates bigint)
    LANGUAGE plpgsql AS $$
DECLARE
    hashed boolean := EXISTS (SELECT FROM redactions AS d WHERE d.tenant_id = owner);
BEGIN
    UPDATE suppression_rows AS r
    SET outcome = 'duplicate', problem = 'the same as line ' || f.first
    FROM (SELECT line, min(line) OVER (PARTITION BY address) AS first FROM suppression_rows
          WHERE list_id = list AND outcome = 'ready') AS f
    WHERE r.list_id = list AND r.line = f.line AND f.line > f.first;
    UPDATE suppression_rows AS r SET is_known = true
    WHERE r.list_id = list AND r.outcome = 'ready' AND EXISTS (
        SELECT FROM consents AS c
        WHERE c.tenant_id = owner AND c.channel = way AND c.state = 'opted_out'
          AND c.address IN (r.address, CASE WHEN hashed THEN address_digest(r.address) END)
          AND (c.scope = '' OR (c.scope LIKE 'list:%'
                                AND coalesce(c.expires_at > clock_timestamp(), true))));
    SELECT count(*), count(*) FILTER (WHERE r.outcome = 'ready' AND NOT r.is_known),
           count(*) FILTER (WHERE r.outcome = 'ready' AND r.is_known),
           count(*) FILTER (WHERE r.outcome = 'invalid'),
           count(*) FILTER (WHERE r.outcome = 'duplicate')
    INTO total, fresh, known, invalid, duplicates
    FROM suppression_rows AS r WHERE r.list_id = list;
END $$;

-- Put the next *most* rows of a list into the registry, set-wise: base rows made and locked first, a
-- row of the list's scope with its event for each, queued texts stopped. *list*: id, scope, channel,
-- source, reason, expires_at, actor, correlation_id. Returns how many rows were taken, 0 at the end,
-- and how many texts were stopped.
CREATE FUNCTION suppression_apply(owner uuid, list jsonb, most integer,
                                  OUT taken integer, OUT stopped integer)
    LANGUAGE plpgsql AS $$
DECLARE
    list_key uuid := (list ->> 'id')::uuid;
    part text := list ->> 'scope';
    way text := list ->> 'channel';
    lines integer[];
    people text[];
    erasures constant bigint := (SELECT count(*) FROM redactions AS d WHERE d.tenant_id = owner);
BEGIN
    SELECT array_agg(line), array_agg(address) INTO lines, people
    FROM (SELECT line, address FROM suppression_rows
          WHERE list_id = list_key AND outcome = 'ready' ORDER BY line LIMIT most) AS batch;
    taken := coalesce(cardinality(lines), 0);
    stopped := 0;
    IF taken = 0 THEN
        RETURN;
    END IF;
    IF erasures > 0 THEN
        -- Who is known only by the hash is entered under it.
        SELECT array_agg(coalesce(c.address, p.person)) INTO people
        FROM (SELECT person, address_digest(person) AS digest FROM unnest(people) AS person) AS p
        LEFT JOIN consents AS c ON c.tenant_id = owner AND c.channel = way AND c.scope = ''
                               AND c.address = p.digest;
    END IF;
    INSERT INTO consents (tenant_id, id, channel, address, scope, state, rev, position)
    SELECT owner, ulid_new(), way, person, '', 'unknown', 0, 0
    FROM unnest(people) AS person ORDER BY person
    ON CONFLICT (tenant_id, channel, address, scope) DO NOTHING;
    IF erasures <> (SELECT count(*) FROM redactions AS d WHERE d.tenant_id = owner) THEN
        RAISE EXCEPTION 'an address of the list was erased meanwhile' USING ERRCODE = '40001';
    END IF;
    PERFORM FROM consents
    WHERE tenant_id = owner AND channel = way AND scope = '' AND address = ANY (people)
    ORDER BY id FOR NO KEY UPDATE;
    WITH rows_made AS (
        INSERT INTO consents (tenant_id, id, channel, address, scope, state, rev, position, source,
                              expires_at)
        SELECT owner, ulid_new(), way, person, part, 'opted_out', 1, 0, list ->> 'source',
               (list ->> 'expires_at')::timestamptz
        FROM unnest(people) AS person
        ON CONFLICT (tenant_id, channel, address, scope) DO NOTHING
        RETURNING id, address
    ), events AS (
        INSERT INTO consent_events (tenant_id, id, consent_id, rev, kind, state, source, keyword,
                                    reason, position, actor_id, correlation_id, at)
        SELECT owner, ulid_new(), m.id, 1, 'opt_out', 'opted_out', list ->> 'source', '',
               list ->> 'reason', 0, (list ->> 'actor')::uuid, list ->> 'correlation_id',
               clock_timestamp()
        FROM rows_made AS m
        RETURNING id, consent_id
    ), texts AS (
        UPDATE outbound_messages AS o
        SET state = 'suppressed', error = 'on a suppression list', updated_at = clock_timestamp()
        FROM rows_made AS m
        WHERE way = 'sms' AND o.tenant_id = owner AND o.to_address = m.address
          AND o.state = 'queued' AND o.purpose <> 'opt_out_confirmation'
        RETURNING o.id, m.id AS consent_id
    ), effects AS (
        INSERT INTO consent_effects (tenant_id, id, consent_event_id, kind, subject, at)
        SELECT owner, ulid_new(), e.id, 'text_cancelled', ulid_text('obm', t.id),
               clock_timestamp()
        FROM texts AS t JOIN events AS e ON e.consent_id = t.consent_id
        RETURNING 1
    )
    SELECT count(*) INTO stopped FROM effects;
    UPDATE suppression_rows SET outcome = 'applied'
    WHERE list_id = list_key AND line = ANY (lines);
END $$;

-- Take the next *most* rows of a list back: each is released, none is deleted. Returns how many.
CREATE FUNCTION suppression_undo(owner uuid, list jsonb, most integer) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    part text := list ->> 'scope';
    people text[];
    rows_now uuid[];
BEGIN
    SELECT array_agg(id), array_agg(address) INTO rows_now, people
    FROM (SELECT id, address FROM consents
          WHERE tenant_id = owner AND scope = part AND state = 'opted_out'
          ORDER BY id LIMIT most) AS batch;
    IF rows_now IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM FROM consents
    WHERE tenant_id = owner AND channel = list ->> 'channel' AND scope = ''
      AND address = ANY (people)
    ORDER BY id FOR NO KEY UPDATE;
    INSERT INTO consent_events (tenant_id, id, consent_id, rev, kind, state, source, keyword,
                                reason, position, actor_id, correlation_id, at)
    SELECT owner, ulid_new(), c.id, c.rev + 1, 'release', 'unknown', 'manual', '',
           list ->> 'reason', 0, (list ->> 'actor')::uuid, list ->> 'correlation_id',
           clock_timestamp()
    FROM consents AS c WHERE c.tenant_id = owner AND c.id = ANY (rows_now);
    UPDATE consents SET state = 'unknown', rev = rev + 1, updated_at = clock_timestamp(),
                        source = 'manual'
    WHERE tenant_id = owner AND id = ANY (rows_now);
    RETURN cardinality(rows_now);
END $$;

-- Tenants with somebody to tell of an opt-out, or with a list on its way. As the owner, since it
-- looks across tenants; ids only.
CREATE FUNCTION tenants_with_consent_work() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id FROM public.tenants AS t
    WHERE EXISTS (SELECT FROM public.consent_acks AS a
                  WHERE a.tenant_id = t.id AND a.state = 'pending'
                    AND a.next_at <= clock_timestamp())
       OR EXISTS (SELECT FROM public.suppression_lists AS l
                  WHERE l.tenant_id = t.id AND l.state IN ('applying', 'undoing'))
$$;
REVOKE ALL ON FUNCTION tenants_with_consent_work() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenants_with_consent_work() TO fairlead_app;
