-- What a cell of a file means: one function per kind of value, used by preview and import alike.
-- All of them: blank gives a NULL value and no problem; else a value, or a problem that says in
-- words what is wrong with it. None looks at a table, a setting or a clock.
CREATE TYPE import_value AS (value text, problem text);

-- A word or sentence: blanks at the ends gone, inner runs of blanks one. `most`: characters kept.
CREATE FUNCTION import_text(raw text, most integer) RETURNS import_value
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ROW(
    CASE WHEN length(raw) <= most THEN nullif(btrim(raw, E' \t\r\n\u00a0'), '')
         ELSE nullif(left(btrim(raw, E' \t\r\n\u00a0'), most), '') END,
    CASE WHEN length(raw) > most AND length(btrim(raw, E' \t\r\n\u00a0')) > most
         THEN 'is longer than ' || most || ' characters' END
)::import_value;

-- Dollars, whole: "$900K", "1.2M", "(1,200)", "-5", "$1,234.56". A range or two numbers are none.
CREATE FUNCTION import_money(raw text) RETURNS import_value
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text := lower(translate(coalesce(raw, ''), E'$, \t\r\n\u00a0\u20ac', ''));
    negative boolean := false;
    unit numeric := 1;
    amount numeric;
BEGIN
    t := regexp_replace(t, '(usd|dollars?)$', '');
    IF t IN ('', '-', 'n/a', 'na', 'none', 'null') THEN
        RETURN ROW(NULL, NULL)::import_value;
    END IF;
    IF left(t, 1) = '(' AND right(t, 1) = ')' THEN
        negative := true;
        t := substr(t, 2, length(t) - 2);
    ELSIF left(t, 1) IN ('-', '+', chr(8722)) THEN
        negative := left(t, 1) <> '+';
        t := substr(t, 2);
    END IF;
    IF right(t, 8) = 'thousand' THEN unit := 1000; t := left(t, -8);
    ELSIF right(t, 7) = 'million' THEN unit := 1000000; t := left(t, -7);
    ELSIF right(t, 7) = 'billion' THEN unit := 1000000000; t := left(t, -7);
    ELSIF right(t, 2) IN ('mm', 'mn') THEN unit := 1000000; t := left(t, -2);
    ELSIF right(t, 2) = 'bn' THEN unit := 1000000000; t := left(t, -2);
    ELSIF right(t, 1) = 'k' THEN unit := 1000; t := left(t, -1);
    ELSIF right(t, 1) = 'm' THEN unit := 1000000; t := left(t, -1);
    ELSIF right(t, 1) = 'b' THEN unit := 1000000000; t := left(t, -1);
    END IF;
    IF length(t) > 18 OR t !~ '^([0-9]+\.?[0-9]*|\.[0-9]+)$' THEN
        RETURN ROW(NULL, 'is no amount of money')::import_value;
    END IF;
    amount := round(t::numeric * unit) * CASE WHEN negative THEN -1 ELSE 1 END;
    IF abs(amount) > 1000000000000 THEN
        RETURN ROW(NULL, 'is more money than a lead can have')::import_value;
    END IF;
    RETURN ROW(amount::bigint::text, NULL)::import_value;
END $$;

-- A whole number from 0 to `most`: "1,480", "5.0".
CREATE FUNCTION import_integer(raw text, most bigint) RETURNS import_value
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text := translate(coalesce(raw, ''), E', \t\r\n\u00a0', '');
BEGIN
    IF t IN ('', '-') OR lower(t) IN ('n/a', 'na', 'none', 'null') THEN
        RETURN ROW(NULL, NULL)::import_value;
    END IF;
    IF length(t) > 18 OR t !~ '^[0-9]+(\.0*)?$' THEN
        RETURN ROW(NULL, 'is no whole number')::import_value;
    END IF;
    IF trunc(t::numeric) > most THEN
        RETURN ROW(NULL, 'is more than ' || most)::import_value;
    END IF;
    RETURN ROW(trunc(t::numeric)::bigint::text, NULL)::import_value;
END $$;

-- A number with a fraction from 0 to `most`, "2.5"; a percent sign behind it is left out.
CREATE FUNCTION import_percent(raw text, most numeric) RETURNS import_value
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text := translate(coalesce(raw, ''), E'%, \t\r\n\u00a0', '');
BEGIN
    IF t IN ('', '-') OR lower(t) IN ('n/a', 'na', 'none', 'null') THEN
        RETURN ROW(NULL, NULL)::import_value;
    END IF;
    IF length(t) > 18 OR t !~ '^([0-9]+\.?[0-9]*|\.[0-9]+)$' THEN
        RETURN ROW(NULL, 'is no number')::import_value;
    END IF;
    IF t::numeric > most THEN
        RETURN ROW(NULL, 'is more than ' || most)::import_value;
    END IF;
    RETURN ROW(trim_scale(round(t::numeric, 2))::text, NULL)::import_value;
END $$;

-- "true" or "false" of what people write for it.
CREATE FUNCTION import_yes_no(raw text) RETURNS import_value
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text := lower(btrim(coalesce(raw, ''), E' \t\r\n\u00a0.'));
BEGIN
    RETURN CASE
        WHEN t IN ('', '-', 'n/a', 'na', 'unknown', 'null', 'none', '?')
        THEN ROW(NULL, NULL)::import_value
        WHEN t IN ('yes', 'y', 'true', 't', '1', 'x', 'on') THEN ROW('true', NULL)::import_value
        WHEN t IN ('no', 'n', 'false', 'f', '0', 'off') THEN ROW('false', NULL)::import_value
        ELSE ROW(NULL, 'is neither yes nor no')::import_value
    END;
END $$;

-- A day as YYYY-MM-DD: "2011-06-01", "6/1/2011", "6/1/11" (two digits: up to 30 this century),
-- "20110601", "Jun 1, 2011", each with or without a time behind it. Month before day.
CREATE FUNCTION import_date(raw text) RETURNS import_value
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text := lower(btrim(coalesce(raw, ''), E' \t\r\n\u00a0'));
    part text[];
    y integer;
    m integer;
    d integer;
BEGIN
    IF t IN ('', '-', 'n/a', 'na', 'none', 'null') THEN
        RETURN ROW(NULL, NULL)::import_value;
    END IF;
    part := regexp_match(t, '^(\d{4})[-/.]?(\d{1,2})[-/.]?(\d{1,2})(?:$|[t ])');
    IF part IS NULL THEN
        part := regexp_match(t, '^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})(?:$|[t ,])');
        IF part IS NULL THEN
            part := regexp_match(t, '^([a-z]{3})[a-z]*\.? (\d{1,2}),? (\d{4})(?:$| )');
            IF part IS NOT NULL THEN
                m := position(part[1] IN 'janfebmaraprmayjunjulaugsepoctnovdec');
                m := CASE WHEN m % 3 = 1 THEN (m + 2) / 3 ELSE 0 END;
                part := ARRAY[m::text, part[2], part[3]];
            END IF;
        END IF;
        IF part IS NOT NULL THEN
            y := part[3]::integer;
            y := CASE WHEN length(part[3]) = 4 THEN y WHEN y <= 30 THEN 2000 + y ELSE 1900 + y END;
            part := ARRAY[y::text, part[1], part[2]];
        END IF;
    END IF;
    IF part IS NULL THEN
        RETURN ROW(NULL, 'is no date')::import_value;
    END IF;
    y := part[1]::integer;
    m := part[2]::integer;
    d := part[3]::integer;
    IF y NOT BETWEEN 1600 AND 2200 OR m NOT BETWEEN 1 AND 12 OR d < 1 OR d > (CASE
        WHEN m IN (4, 6, 9, 11) THEN 30
        WHEN m <> 2 THEN 31
        WHEN y % 4 = 0 AND (y % 100 <> 0 OR y % 400 = 0) THEN 29
        ELSE 28 END)
    THEN
        RETURN ROW(NULL, 'is no date of the calendar')::import_value;
    END IF;
    RETURN ROW(make_date(y, m, d)::text, NULL)::import_value;
END $$;

-- Two letters of a state, territory or Canadian province, from the letters or the name.
CREATE FUNCTION import_region(raw text) RETURNS import_value
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text := lower(translate(coalesce(raw, ''), E'. \t\r\n\u00a0', ''));
    found text;
BEGIN
    IF t = '' THEN
        RETURN ROW(NULL, NULL)::import_value;
    END IF;
    IF length(t) = 2 AND position(' ' || t || ' ' IN
        ' al ak az ar ca co ct de dc fl ga hi id il in ia ks ky la me md ma mi mn ms mo mt ne nv nh'
        ' nj nm ny nc nd oh ok or pa ri sc sd tn tx ut vt va wa wv wi wy pr vi gu as mp'
        ' ab bc mb nb nl ns nt nu on pe qc sk yt ') > 0
    THEN
        RETURN ROW(upper(t), NULL)::import_value;
    END IF;
    found := '{"alabama":"AL","alaska":"AK","arizona":"AZ","arkansas":"AR","california":"CA",
        "colorado":"CO","connecticut":"CT","delaware":"DE","districtofcolumbia":"DC",
        "washingtondc":"DC","florida":"FL","georgia":"GA","hawaii":"HI","idaho":"ID",
        "illinois":"IL","indiana":"IN","iowa":"IA","kansas":"KS","kentucky":"KY","louisiana":"LA",
        "maine":"ME","maryland":"MD","massachusetts":"MA","michigan":"MI","minnesota":"MN",
        "mississippi":"MS","missouri":"MO","montana":"MT","nebraska":"NE","nevada":"NV",
        "newhampshire":"NH","newjersey":"NJ","newmexico":"NM","newyork":"NY","northcarolina":"NC",
        "northdakota":"ND","ohio":"OH","oklahoma":"OK","oregon":"OR","pennsylvania":"PA",
        "rhodeisland":"RI","southcarolina":"SC","southdakota":"SD","tennessee":"TN","texas":"TX",
        "utah":"UT","vermont":"VT","virginia":"VA","washington":"WA","westvirginia":"WV",
        "wisconsin":"WI","wyoming":"WY","puertorico":"PR","virginislands":"VI","guam":"GU",
        "ontario":"ON","quebec":"QC","britishcolumbia":"BC","alberta":"AB","manitoba":"MB",
        "saskatchewan":"SK","novascotia":"NS","newbrunswick":"NB"}'::jsonb ->> t;
    IF found IS NULL THEN
        RETURN ROW(NULL, 'is no state')::import_value;
    END IF;
    RETURN ROW(found, NULL)::import_value;
END $$;

-- A ZIP code with the zeros that spreadsheets drop, "8014" → "08014", with its four more where
-- given; a Canadian code in its usual form.
CREATE FUNCTION import_zip(raw text) RETURNS import_value
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text := upper(translate(coalesce(raw, ''), E'- \t\r\n\u00a0', ''));
BEGIN
    IF t = '' THEN
        RETURN ROW(NULL, NULL)::import_value;
    END IF;
    IF right(t, 2) = '.0' THEN
        t := left(t, -2);
    END IF;
    IF t ~ '^[0-9]{3,9}$' THEN
        IF length(t) <= 5 THEN
            t := lpad(t, 5, '0');
            IF t <> '00000' THEN
                RETURN ROW(t, NULL)::import_value;
            END IF;
        ELSIF length(t) >= 8 THEN
            t := lpad(t, 9, '0');
            RETURN ROW(
                left(t, 5) || CASE WHEN right(t, 4) = '0000' THEN '' ELSE '-' || right(t, 4) END,
                NULL
            )::import_value;
        END IF;
    ELSIF t ~ '^[A-Z][0-9][A-Z][0-9][A-Z][0-9]$' THEN
        RETURN ROW(left(t, 3) || ' ' || right(t, 3), NULL)::import_value;
    END IF;
    RETURN ROW(NULL, 'is no ZIP code')::import_value;
END $$;

-- The five digits of a county, with the zero that spreadsheets drop.
CREATE FUNCTION import_fips(raw text) RETURNS import_value
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ROW(
    CASE WHEN btrim(raw) ~ '^[0-9]{4,5}(\.0)?$' THEN lpad(split_part(btrim(raw), '.', 1), 5, '0') END,
    CASE WHEN btrim(raw) <> '' AND btrim(raw) !~ '^[0-9]{4,5}(\.0)?$' THEN 'is no county code' END
)::import_value;

-- A phone number in E.164, or in words why it is none; phone_read is what reads it.
CREATE FUNCTION import_phone(raw text) RETURNS import_value
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text := btrim(coalesce(raw, ''), E' \t\r\n\u00a0''');
    found text;
    n integer;
BEGIN
    IF lower(t) IN ('', '-', 'n/a', 'na', 'none', 'null', '0') THEN
        RETURN ROW(NULL, NULL)::import_value;
    END IF;
    found := phone_read(t);
    IF left(found, 1) = '+' THEN
        RETURN ROW(found, NULL)::import_value;
    END IF;
    IF left(found, 7) IN ('?too sh', '?too lo', '?no are', '?eleven') THEN
        n := length(t) - length(translate(t, '0123456789', ''));
        RETURN ROW(NULL, 'has ' || n || CASE n WHEN 1 THEN ' digit' ELSE ' digits' END)::import_value;
    END IF;
    RETURN ROW(NULL, CASE left(found, 8)
        WHEN '?rounded' THEN 'was rounded by a spreadsheet'
        WHEN '?no such' THEN 'is a number that nobody has'
        ELSE 'is no phone number' END)::import_value;
END $$;

-- The nth of several values in one cell, between ; | / or line ends, or commas.
CREATE FUNCTION import_item(raw text, nth integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN translate(raw, E';|/,\n', '') = raw OR lower(raw) = 'n/a'
    THEN CASE nth WHEN 1 THEN raw END
    ELSE btrim((array_remove(
        string_to_array(translate(raw, E';|/,\n\r', ';;;;;'), ';'), ''))[nth])
END;

-- An e-mail address, folded by normalize_email, without what mail programs put around it.
CREATE FUNCTION import_email(raw text) RETURNS import_value
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text := btrim(coalesce(raw, ''), E' \t\r\n\u00a0<>,;"''');
BEGIN
    IF lower(t) IN ('', '-', 'n/a', 'na', 'none', 'null') THEN
        RETURN ROW(NULL, NULL)::import_value;
    END IF;
    IF lower(left(t, 7)) = 'mailto:' THEN
        t := substr(t, 8);
    END IF;
    t := CASE WHEN length(t) <= 320 THEN normalize_email(t) END;
    RETURN ROW(t, CASE WHEN t IS NULL THEN 'is no e-mail address' END)::import_value;
END $$;

-- A part of a person's name, `part` is first, last or full: "Jane Doe", "Doe, Jane", "Dr. Jane M.
-- Doe Jr". The name of a company, or a single word, has no parts but full.
CREATE FUNCTION import_name(raw text, part text) RETURNS import_value
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text := btrim(translate(coalesce(raw, ''), E'\t\r\n\u00a0', '    '), ' ,');
    word text[];
    n integer;
    is_company boolean;
BEGIN
    IF t = '' THEN
        RETURN ROW(NULL, NULL)::import_value;
    END IF;
    IF length(t) > 160 THEN
        RETURN ROW(NULL, 'is longer than 160 characters')::import_value;
    END IF;
    is_company := ' ' || lower(translate(t, '.,', '  ')) || ' ' ~
        ' (llc|inc|corp|co|ltd|lp|llp|trust|bank|company|corporation|estate|properties|holdings|group|partners|associates|church|city|county|&) ';
    IF NOT is_company THEN
        IF position(',' IN t) > 0 AND split_part(t, ',', 3) = ''
            AND NOT lower(btrim(split_part(t, ',', 2), ' .')) IN ('jr', 'sr', 'ii', 'iii', 'iv', 'md', 'esq', 'phd')
        THEN
            t := btrim(split_part(t, ',', 2)) || ' ' || btrim(split_part(t, ',', 1));
        END IF;
        word := array_remove(string_to_array(replace(t, ',', ' '), ' '), '');
        IF lower(rtrim(word[1], '.')) IN ('mr', 'mrs', 'ms', 'dr', 'miss', 'prof', 'rev') THEN
            word := word[2:];
        END IF;
        n := cardinality(word);
    END IF;
    IF is_company OR n < 2 THEN
        RETURN ROW(CASE part WHEN 'full' THEN t END, NULL)::import_value;
    END IF;
    IF part = 'full' THEN
        RETURN ROW(array_to_string(word, ' '), NULL)::import_value;
    ELSIF part = 'first' THEN
        RETURN ROW(left(word[1], 80), NULL)::import_value;
    END IF;
    -- A middle name or initial is in the full name; a suffix is no last name.
    IF n > 2 AND lower(rtrim(word[n], '.')) IN ('jr', 'sr', 'ii', 'iii', 'iv', 'md', 'esq', 'phd') THEN
        n := n - 1;
    END IF;
    IF n > 2 AND lower(word[n - 1]) IN ('de', 'la', 'da', 'van', 'von', 'der', 'del', 'di', 'st.', 'st')
    THEN
        RETURN ROW(left(word[n - 1] || ' ' || word[n], 80), NULL)::import_value;
    END IF;
    RETURN ROW(left(word[n], 80), NULL)::import_value;
END $$;

-- Kind of a phone line, as contact points know it.
CREATE FUNCTION import_line_type(raw text) RETURNS import_value
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ROW(
    CASE lower(btrim(raw))
        WHEN '' THEN NULL
        WHEN 'mobile' THEN 'mobile' WHEN 'wireless' THEN 'mobile' WHEN 'cell' THEN 'mobile'
        WHEN 'cellular' THEN 'mobile' WHEN 'cell phone' THEN 'mobile' WHEN 'm' THEN 'mobile'
        WHEN 'landline' THEN 'landline' WHEN 'land line' THEN 'landline' WHEN 'land' THEN 'landline'
        WHEN 'fixed' THEN 'landline' WHEN 'residential' THEN 'landline' WHEN 'l' THEN 'landline'
        WHEN 'fixedline' THEN 'landline' WHEN 'fixed line' THEN 'landline'
        WHEN 'voip' THEN 'voip' WHEN 'nonfixedvoip' THEN 'voip' WHEN 'fixedvoip' THEN 'voip'
        ELSE 'unknown'
    END, NULL
)::import_value;

-- A time zone of North America by its name; others cannot be told from a slip.
CREATE FUNCTION import_zone(raw text) RETURNS import_value
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ROW(
    CASE WHEN btrim(raw) IN (
        'America/New_York', 'America/Detroit', 'America/Kentucky/Louisville',
        'America/Indiana/Indianapolis', 'America/Chicago', 'America/Menominee', 'America/Denver',
        'America/Boise', 'America/Phoenix', 'America/Los_Angeles', 'America/Anchorage',
        'America/Juneau', 'Pacific/Honolulu', 'America/Puerto_Rico', 'America/Toronto',
        'America/Winnipeg', 'America/Regina', 'America/Edmonton', 'America/Vancouver',
        'America/Halifax', 'America/St_Johns') THEN btrim(raw) END,
    CASE WHEN btrim(raw) <> '' AND btrim(raw) NOT IN (
        'America/New_York', 'America/Detroit', 'America/Kentucky/Louisville',
        'America/Indiana/Indianapolis', 'America/Chicago', 'America/Menominee', 'America/Denver',
        'America/Boise', 'America/Phoenix', 'America/Los_Angeles', 'America/Anchorage',
        'America/Juneau', 'Pacific/Honolulu', 'America/Puerto_Rico', 'America/Toronto',
        'America/Winnipeg', 'America/Regina', 'America/Edmonton', 'America/Vancouver',
        'America/Halifax', 'America/St_Johns') THEN 'is no time zone we know' END
)::import_value;

-- Imports that should be worked on and that no process is at. As the owner; ids only.
CREATE INDEX imports_active ON imports (tenant_id, id)
    WHERE state IN ('checking', 'importing', 'undoing');
CREATE FUNCTION imports_due() RETURNS TABLE (tenant uuid, import uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.tenant_id, i.id FROM public.imports AS i
    WHERE i.state IN ('checking', 'importing', 'undoing')
      AND (i.lease_until IS NULL OR i.lease_until < clock_timestamp())
$$;
REVOKE ALL ON FUNCTION imports_due() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION imports_due() TO fairlead_app;

-- The lead that *subject* is part of now; NULL where it, or what it was merged into, was taken back.
CREATE OR REPLACE FUNCTION lead_living(owner uuid, subject uuid) RETURNS uuid
    LANGUAGE sql STABLE AS $$
    WITH RECURSIVE chain AS (
        SELECT id, merged_into_id, superseded_at, 0 AS depth
        FROM leads WHERE tenant_id = owner AND id = subject
        UNION ALL
        SELECT l.id, l.merged_into_id, l.superseded_at, c.depth + 1
        FROM chain AS c JOIN leads AS l ON l.tenant_id = owner AND l.id = c.merged_into_id
        WHERE c.depth < 50
    )
    SELECT last.id FROM (SELECT * FROM chain ORDER BY depth DESC LIMIT 1) AS last
    WHERE last.superseded_at IS NULL
$$;
