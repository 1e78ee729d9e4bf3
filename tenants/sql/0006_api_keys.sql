-- The key a call came with. As the owner: whose it is, is not known yet; ids only.
CREATE FUNCTION api_key_by_hash(hash text) RETURNS TABLE (tenant_id uuid, key_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.tenant_id, k.id FROM public.api_keys AS k WHERE k.key_hash = hash
    UNION
    SELECT k.tenant_id, k.id FROM public.api_keys AS k
    WHERE k.previous_hash = hash AND k.previous_hash <> ''
    LIMIT 1
$$;
REVOKE ALL ON FUNCTION api_key_by_hash(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api_key_by_hash(text) TO fairlead_app;
