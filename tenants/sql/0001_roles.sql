-- The two roles, what the application role may do, and functions that every app uses.
-- fairlead_app is neither superuser nor owner nor BYPASSRLS: isolation and append-only hold for it.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fairlead_app') THEN
        CREATE ROLE fairlead_app NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- another test database of the same cluster was faster
END $$;

-- With one DATABASE_URL the login owns the tables and must be able to step down to the app role.
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'fairlead_app', 'MEMBER') THEN
        EXECUTE format('GRANT fairlead_app TO %I', current_user);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    NULL;  -- two logins: not needed
END $$;

GRANT USAGE ON SCHEMA public TO fairlead_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO fairlead_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO fairlead_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO fairlead_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO fairlead_app;

-- Trigger of append-only tables, for rows and for TRUNCATE.
CREATE FUNCTION refuse_change() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', tg_table_name, lower(tg_op)
        USING ERRCODE = 'LD010';
END $$;

-- 'lead_01J…' of a prefix and a uuid: Crockford base 32 of its 128 bits. NULL of NULL.
CREATE FUNCTION ulid_text(prefix text, id uuid) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT prefix || '_' || string_agg(
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + substring(bits FROM 1 + 5 * n FOR 5)::int, 1),
        '' ORDER BY n)
    FROM (SELECT b'00' || ('x' || replace(id::text, '-', ''))::bit(128) AS bits) AS padded,
         generate_series(0, 25) AS n
$$;

-- A new ULID: 48 bits of milliseconds, 80 of chance. Rows made in SQL; Python makes its own.
CREATE FUNCTION ulid_new() RETURNS uuid
    LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
            || right(replace(gen_random_uuid()::text, '-', ''), 20))::uuid
$$;
