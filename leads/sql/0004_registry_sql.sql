-- The registry: scopes, suppression lists, erased addresses, and how long a choice took to count.

UPDATE consents AS c SET source = e.source
FROM consent_events AS e
WHERE e.tenant_id = c.tenant_id AND e.consent_id = c.id AND e.rev = c.rev;

-- The key of erased addresses, as the two padded blocks of an HMAC. Nobody but the owner reads it,
-- and no row of it ever leaves the database; a dump without it cannot be tried number by number.
CREATE TABLE erasure_keys (
    id integer PRIMARY KEY CHECK (id = 1),
    inner_pad bytea NOT NULL CHECK (length(inner_pad) = 64),
    outer_pad bytea NOT NULL CHECK (length(outer_pad) = 64)
);
REVOKE ALL ON erasure_keys FROM PUBLIC, fairlead_app;
DO $$
DECLARE
    secret bytea := sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text
                                      || gen_random_uuid()::text, 'UTF8'));
    inner_pad bytea := decode(repeat('36', 64), 'hex');
    outer_pad bytea := decode(repeat('5c', 64), 'hex');
BEGIN
    FOR n IN 0 .. 31 LOOP
        inner_pad := set_byte(inner_pad, n, get_byte(inner_pad, n) # get_byte(secret, n));
        outer_pad := set_byte(outer_pad, n, get_byte(outer_pad, n) # get_byte(secret, n));
    END LOOP;
    INSERT INTO erasure_keys VALUES (1, inner_pad, outer_pad);
END $$;

-- What is kept in place of an erased address: 96 bits of its HMAC-SHA-256, short enough for every
-- column that holds an address. An erased address is its own digest. As the owner, who alone may
-- read the key.
CREATE FUNCTION address_digest(who text) RETURNS text
    LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key record;
BEGIN
    IF who LIKE 'erased:%' THEN
        RETURN who;
    END IF;
    SELECT inner_pad, outer_pad INTO STRICT key FROM public.erasure_keys;
    RETURN 'erased:' || left(encode(sha256(key.outer_pad || sha256(
        key.inner_pad || convert_to(who, 'UTF8'))), 'hex'), 24);
END $$;
REVOKE ALL ON FUNCTION address_digest(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION address_digest(text) TO fairlead_app;

-- The address under which the registry knows somebody: as given, or erased. Looked up by the base
-- row, which is made before any other.
CREATE FUNCTION consent_address(owner uuid, way text, who text) RETURNS text
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    digest text;
BEGIN
    IF EXISTS (SELECT FROM consents WHERE tenant_id = owner AND channel = way AND address = who
                 AND scope = '') THEN
        RETURN who;
    END IF;
    digest := address_digest(who);
    IF EXISTS (SELECT FROM consents WHERE tenant_id = owner AND channel = way
                 AND address = digest AND scope = '') THEN
        RETURN digest;
    END IF;
    RETURN who;
END $$;

-- As before, but of an erased address the row that has its hash.
CREATE OR REPLACE FUNCTION consent_base(owner uuid, way text, who text) RETURNS uuid
    LANGUAGE plpgsql AS $$
DECLARE
    found_id uuid;
    digest text;
BEGIN
    SELECT id INTO found_id FROM consents
    WHERE tenant_id = owner AND channel = way AND address = who AND scope = '';
    IF found_id IS NOT NULL THEN
        RETURN found_id;
    END IF;
    digest := address_digest(who);
    SELECT id INTO found_id FROM consents
    WHERE tenant_id = owner AND channel = way AND address = digest AND scope = '';
    IF found_id IS NOT NULL THEN
        RETURN found_id;
    END IF;
    BEGIN
        INSERT INTO consents (tenant_id, id, channel, address, scope, state, rev, position)
        VALUES (owner, ulid_new(), way, who, '', 'unknown', 0, 0)
        ON CONFLICT (tenant_id, channel, address, scope) DO NOTHING;
        -- An erasure that committed while this waited for it: its row stands, ours never was.
        SELECT id INTO found_id FROM consents
        WHERE tenant_id = owner AND channel = way AND address = digest AND scope = '';
        IF found_id IS NOT NULL THEN
            RAISE EXCEPTION 'erased meanwhile' USING ERRCODE = 'LD017';
        END IF;
    EXCEPTION WHEN SQLSTATE 'LD017' THEN
        RETURN found_id;
    END;
    SELECT id INTO found_id FROM consents
    WHERE tenant_id = owner AND channel = way AND address = who AND scope = '';
    RETURN found_id;
END $$;

-- The base rows of these addresses, made where they are missing, in one order. Not locked.
CREATE FUNCTION consent_bases(owner uuid, way text, people text[]) RETURNS SETOF uuid
    LANGUAGE sql AS $$
    SELECT consent_base(owner, way, person)
    FROM (SELECT DISTINCT unnest(people) AS person ORDER BY 1) AS wanted
$$;

-- As before. New: a choice about an erased address finds its row; scopes of lists, which end by
-- themselves (*expires_at*) and are opted out from the first; the version of the rule that matched
-- (*rule*), and when the evidence came: *received_at*, else the beginning of the transaction that
-- brought it.
CREATE OR REPLACE FUNCTION consent_apply(owner uuid, choice jsonb) RETURNS uuid
    LANGUAGE plpgsql AS $$
DECLARE
    way text := coalesce(choice ->> 'channel', 'sms');
    given text := choice ->> 'address';
    who text;
    part text := coalesce(choice ->> 'scope', '');
    what text := choice ->> 'kind';
    place bigint := coalesce((choice ->> 'position')::bigint, 0);
    evidence uuid := (choice ->> 'webhook_event')::uuid;
    row_now record;
    next_state text;
    event_id uuid := ulid_new();
    base uuid := consent_base(owner, way, given);
BEGIN
    -- By its id: an erasure that commits while this waits changes the address, not the row.
    PERFORM FROM consents WHERE tenant_id = owner AND id = base FOR NO KEY UPDATE;
    SELECT address INTO who FROM consents WHERE tenant_id = owner AND id = base;
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
        WHEN 'release' THEN CASE WHEN row_now.state = 'held' OR part LIKE 'list:%' THEN 'unknown'
                                 ELSE row_now.state END
        WHEN 'opt_in' THEN CASE
            WHEN part LIKE 'list:%' THEN row_now.state
            WHEN row_now.state IN ('opted_out', 'held') AND place > 0 AND place < row_now.position
            THEN row_now.state ELSE 'opted_in' END
    END;
    IF next_state IS NULL THEN
        RAISE EXCEPTION 'unknown kind of consent: %', what USING ERRCODE = 'LD013';
    END IF;
    INSERT INTO consent_events (tenant_id, id, consent_id, rev, kind, state, source, keyword,
                                reason, webhook_event, position, actor_id, correlation_id, at,
                                rule_version, received_at)
    VALUES (owner, event_id, row_now.id, row_now.rev + 1, what, next_state,
            coalesce(choice ->> 'source', 'manual'), left(coalesce(choice ->> 'keyword', ''), 160),
            coalesce(choice ->> 'reason', ''), evidence, place, (choice ->> 'actor')::uuid,
            coalesce(choice ->> 'correlation_id', ''), clock_timestamp(),
            left(coalesce(choice ->> 'rule', ''), 20),
            coalesce((choice ->> 'received_at')::timestamptz,
                     CASE WHEN evidence IS NOT NULL THEN transaction_timestamp() END));
    UPDATE consents
    SET state = next_state, rev = row_now.rev + 1, updated_at = clock_timestamp(),
        source = coalesce(choice ->> 'source', 'manual'),
        expires_at = CASE WHEN part LIKE 'list:%' AND choice ? 'expires_at'
                          THEN (choice ->> 'expires_at')::timestamptz ELSE expires_at END,
        position = CASE WHEN what IN ('opt_out', 'hold') THEN greatest(row_now.position, place)
                        ELSE row_now.position END
    WHERE tenant_id = owner AND id = row_now.id;
    RETURN event_id;
END $$;

-- As before; a redaction is the one reason for which a row changes its address, to the hash of it.
CREATE OR REPLACE FUNCTION consent_guard() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.address <> OLD.address AND NEW.address = address_digest(OLD.address)
       AND to_jsonb(NEW) - ARRAY['address', 'tail', 'proved_rev']
           = to_jsonb(OLD) - ARRAY['address', 'tail', 'proved_rev']
       AND EXISTS (SELECT FROM redactions AS r
                   WHERE r.tenant_id = OLD.tenant_id AND r.digest = NEW.address) THEN
        RETURN NEW;
    END IF;
    IF NEW.address <> OLD.address OR NEW.channel <> OLD.channel OR NEW.scope <> OLD.scope THEN
        RAISE EXCEPTION 'a consent row keeps its address' USING ERRCODE = 'LD014';
    END IF;
    IF NEW.rev NOT IN (OLD.rev, OLD.rev + 1) OR NEW.position < OLD.position
       OR ((NEW.state, NEW.position, NEW.expires_at)
           IS DISTINCT FROM (OLD.state, OLD.position, OLD.expires_at)
           AND NEW.rev = OLD.rev) THEN
        RAISE EXCEPTION 'consent changes only with its next event' USING ERRCODE = 'LD014';
    END IF;
    RETURN NEW;
END $$;
