-- Who a record is: how addresses, names, phones and e-mails are compared, and the doors for one
-- record at a time. Batches and files come through leads/identity, which uses the same functions.

-- Tables of a run on their way through the engine. They carry no tenant's policy (COPY would be
-- refused), so their names are made of ids that were checked, and they are dropped with the run.
CREATE SCHEMA staging;
GRANT USAGE, CREATE ON SCHEMA staging TO fairlead_app;

-- --- addresses --------------------------------------------------------------------------------

-- Five digits of '90028', '90028-1234' or '900281234'; NULL of anything else.
CREATE FUNCTION normalize_zip(zip text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN btrim(zip) ~ '^[0-9]{5}([- ]?[0-9]{4})?$' AND left(btrim(zip), 5) <> '00000'
                THEN left(btrim(zip), 5) END
$$;

-- Upper case without accents: 'José' is JOSE. Punctuation is the caller's.
CREATE FUNCTION fold_letters(words text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF octet_length(words) <> length(words) THEN
        words := regexp_replace(normalize(words, NFKD), '[\u0300-\u036f]', '', 'g');
        words := replace(words, chr(8217), '''');
    END IF;
    RETURN upper(words);
END $$;

-- The street and the unit of an address as 'STREET|UNIT', in the abbreviations of the postal
-- service: 'North Main Street, Apt. 4-B' is 'N MAIN ST|4B'. '' when there is no street. The unit may
-- stand at the end of *line1*, in *line2* or in *unit*; of *line2* nothing else counts. Its word
-- is left out where it only says that there is one (APT, UNIT, STE, #), since lists disagree on it.
CREATE FUNCTION address_fold(line1 text, line2 text, unit text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    -- Word → abbreviation; '@…' begins a unit, '!…' is one by itself.
    part text;
    place integer := 0;
    words text[];
    word text;
    code text;
    street text := '';
    here text := '';
    units text := '';
    n integer;
    suffix_at integer;
    is_unit boolean;
BEGIN
    IF line1 IS NULL OR line1 = '' THEN
        RETURN '';
    END IF;
    FOREACH part IN ARRAY ARRAY[line1, line2, unit] LOOP
        place := place + 1;
        CONTINUE WHEN part IS NULL OR part = '';
        words := array_remove(string_to_array(
            replace(translate(fold_letters(part), ',;:-_()."''', '       '), '#', ' # '), ' '), '');
        n := coalesce(cardinality(words), 0);
        CONTINUE WHEN n = 0;
        is_unit := place = 3;
        here := '';
        suffix_at := 0;
        FOR i IN 1 .. n LOOP
            word := words[i];
            code := '{"#":"@","APT":"@","APARTMENT":"@","APTMT":"@","UNIT":"@","STE":"@",
                "SUITE":"@","FLAT":"@","NO":"@","FL":"@FL","FLOOR":"@FL","FLR":"@FL","LOT":"@LOT",
                "BLDG":"@BLDG","BUILDING":"@BLDG","BLG":"@BLDG","RM":"@RM","ROOM":"@RM",
                "SPC":"@SPC","SPACE":"@SPC","SP":"@SPC","TRLR":"@TRLR","TRAILER":"@TRLR",
                "DEPT":"@DEPT","DEPARTMENT":"@DEPT","HNGR":"@HNGR","HANGAR":"@HNGR","SLIP":"@SLIP",
                "PIER":"@PIER","STOP":"@STOP","PH":"@PH","PENTHOUSE":"@PH","REAR":"!REAR",
                "FRNT":"!FRNT","UPPR":"!UPPR","UPPER":"!UPPR","LOWR":"!LOWR","LOWER":"!LOWR",
                "BSMT":"!BSMT","BASEMENT":"!BSMT",
                "NORTH":"N","SOUTH":"S","EAST":"E","WEST":"W","NORTHEAST":"NE","NORTHWEST":"NW",
                "SOUTHEAST":"SE","SOUTHWEST":"SW",
                "FIRST":"1ST","SECOND":"2ND","THIRD":"3RD","FOURTH":"4TH","FIFTH":"5TH",
                "SIXTH":"6TH","SEVENTH":"7TH","EIGHTH":"8TH","NINTH":"9TH","TENTH":"10TH",
                "ELEVENTH":"11TH","TWELFTH":"12TH","THIRTEENTH":"13TH","FOURTEENTH":"14TH",
                "FIFTEENTH":"15TH","SIXTEENTH":"16TH","SEVENTEENTH":"17TH","EIGHTEENTH":"18TH",
                "NINETEENTH":"19TH","TWENTIETH":"20TH",
                "SAINT":"ST","MOUNT":"MT","FORT":"FT",
                "STREET":"ST","STR":"ST","STRT":"ST","AVENUE":"AVE","AV":"AVE","AVEN":"AVE",
                "AVENU":"AVE","AVN":"AVE","AVNUE":"AVE","BOULEVARD":"BLVD","BOUL":"BLVD",
                "BOULV":"BLVD","BLV":"BLVD","ROAD":"RD","DRIVE":"DR","DRIV":"DR","DRV":"DR",
                "LANE":"LN","COURT":"CT","CRT":"CT","COURTS":"CTS","CIRCLE":"CIR","CIRC":"CIR",
                "CRCL":"CIR","CIRCL":"CIR","PLACE":"PL","SQUARE":"SQ","SQR":"SQ","SQRE":"SQ",
                "TERRACE":"TER","TERR":"TER","TRAIL":"TRL","TRAILS":"TRL","PARKWAY":"PKWY",
                "PARKWY":"PKWY","PKY":"PKWY","PKWAY":"PKWY","HIGHWAY":"HWY","HIGHWY":"HWY",
                "HIWAY":"HWY","HWAY":"HWY","FREEWAY":"FWY","EXPRESSWAY":"EXPY","EXPRESS":"EXPY",
                "EXPW":"EXPY","TURNPIKE":"TPKE","TPK":"TPKE","TRNPK":"TPKE","WAYS":"WAYS",
                "ALLEY":"ALY","ALLY":"ALY","ALLEE":"ALY","ANNEX":"ANX","ARCADE":"ARC",
                "BAYOU":"BYU","BEACH":"BCH","BEND":"BND","BLUFF":"BLF","BOTTOM":"BTM",
                "BRANCH":"BR","BRIDGE":"BRG","BROOK":"BRK","BYPASS":"BYP","CAMP":"CP",
                "CANYON":"CYN","CAPE":"CPE","CAUSEWAY":"CSWY","CENTER":"CTR","CENTRE":"CTR",
                "CENTR":"CTR","CNTR":"CTR","CLIFF":"CLF","CLIFFS":"CLFS","CLUB":"CLB",
                "COMMON":"CMN","COMMONS":"CMNS","CORNER":"COR","CORNERS":"CORS","COURSE":"CRSE",
                "COVE":"CV","COVES":"CVS","CREEK":"CRK","CRESCENT":"CRES","CREST":"CRST",
                "CROSSING":"XING","CRSSNG":"XING","CROSSROAD":"XRD","CURVE":"CURV","DALE":"DL",
                "DAM":"DM","DIVIDE":"DV","ESTATE":"EST","ESTATES":"ESTS","EXTENSION":"EXT",
                "EXTN":"EXT","FALLS":"FLS","FERRY":"FRY","FIELD":"FLD","FIELDS":"FLDS",
                "FORD":"FRD","FOREST":"FRST","FORGE":"FRG","FORK":"FRK","FORKS":"FRKS",
                "GARDEN":"GDN","GARDENS":"GDNS","GATEWAY":"GTWY","GLEN":"GLN","GREEN":"GRN",
                "GROVE":"GRV","HARBOR":"HBR","HARBOUR":"HBR","HAVEN":"HVN","HEIGHTS":"HTS",
                "HGTS":"HTS","HILL":"HL","HILLS":"HLS","HOLLOW":"HOLW","INLET":"INLT",
                "ISLAND":"IS","ISLANDS":"ISS","JUNCTION":"JCT","KEY":"KY","KNOLL":"KNL",
                "KNOLLS":"KNLS","LAKE":"LK","LAKES":"LKS","LANDING":"LNDG","LIGHT":"LGT",
                "LOAF":"LF","LOCK":"LCK","LODGE":"LDG","MANOR":"MNR","MANORS":"MNRS",
                "MEADOW":"MDW","MEADOWS":"MDWS","MILL":"ML","MILLS":"MLS","MISSION":"MSN",
                "MOTORWAY":"MTWY","MOUNTAIN":"MTN","NECK":"NCK","ORCHARD":"ORCH","OVERPASS":"OPAS",
                "PASSAGE":"PSGE","PINE":"PNE","PINES":"PNES","PLAIN":"PLN","PLAINS":"PLNS",
                "PLAZA":"PLZ","PLZA":"PLZ","POINT":"PT","POINTS":"PTS","PORT":"PRT",
                "PRAIRIE":"PR","RADIAL":"RADL","RANCH":"RNCH","RAPID":"RPD","RAPIDS":"RPDS",
                "REST":"RST","RIDGE":"RDG","RIDGES":"RDGS","RIVER":"RIV","ROUTE":"RTE",
                "SHOAL":"SHL","SHORE":"SHR","SHORES":"SHRS","SKYWAY":"SKWY","SPRING":"SPG",
                "SPRINGS":"SPGS","SPNG":"SPG","SPNGS":"SPGS","STATION":"STA","STREAM":"STRM",
                "SUMMIT":"SMT","THROUGHWAY":"TRWY","TRACE":"TRCE","TRACK":"TRAK","TUNNEL":"TUNL",
                "UNDERPASS":"UPAS","UNION":"UN","VALLEY":"VLY","VIADUCT":"VIA","VIEW":"VW",
                "VIEWS":"VWS","VILLAGE":"VLG","VILLE":"VL","VISTA":"VIS","WELL":"WL","WELLS":"WLS",
                "COUNTY":"CO"}'::jsonb ->> word;
            IF code IS NULL THEN
                code := word;
                IF left(word, 3) = 'APT' AND substr(word, 4, 1) BETWEEN '0' AND '9' THEN
                    code := '@';
                    word := substr(word, 4);
                ELSIF left(word, 4) = 'UNIT' AND substr(word, 5, 1) BETWEEN '0' AND '9' THEN
                    code := '@';
                    word := substr(word, 5);
                END IF;
                IF code = '@' THEN
                    is_unit := true;
                    here := here || coalesce(nullif(ltrim(word, '0'), ''), '0');
                    CONTINUE;
                END IF;
            END IF;
            -- A unit begins: never in front of a street's name, and of FL and the like only where
            -- something follows or stands before it.
            IF left(code, 1) IN ('@', '!') THEN
                CONTINUE WHEN word = '#' AND i > 1 AND words[i - 1] = 'BOX';
                IF is_unit OR place > 1 OR (i > 2 AND (i < n OR code NOT IN ('@', '@LOT'))) THEN
                    IF code = '@FL' AND i = n AND NOT is_unit AND i > 1
                       AND words[i - 1] ~ '^[0-9]+(ST|ND|RD|TH)$' THEN
                        -- '2ND FLOOR': the number stood before.
                        IF place = 1 THEN
                            street := left(street, -1 - length(words[i - 1]));
                        END IF;
                        here := 'FL' || rtrim(words[i - 1], 'STNDRH');
                    ELSE
                        here := CASE WHEN here = '' THEN '' ELSE here || '/' END || substr(code, 2);
                    END IF;
                    is_unit := true;
                    CONTINUE;
                END IF;
                code := word;
            END IF;
            IF is_unit THEN
                here := here || coalesce(nullif(ltrim(word, '0'), ''), '0');
            ELSIF place = 1 THEN
                -- 'MAIN ST 4B': what follows the last suffix, and has a digit, is a unit.
                IF i = n AND suffix_at = n - 1 AND suffix_at > 2 AND word ~ '[0-9]' THEN
                    here := ltrim(word, '0');
                ELSE
                    street := street || ' ' || code;
                    IF code IN ('ST', 'AVE', 'BLVD', 'DR', 'LN', 'CT', 'CIR', 'PL', 'TER', 'WAY')
                       OR (suffix_at = i - 1 AND suffix_at > 2
                           AND code IN ('N', 'S', 'E', 'W', 'NE', 'NW', 'SE', 'SW')) THEN
                        suffix_at := i;
                    END IF;
                END IF;
            ELSIF n <= 2 AND word ~ '[0-9]' AND NOT (words[1] IN ('PO', 'P', 'BOX', 'POB')) THEN
                here := here || ltrim(word, '0');  -- a second line that is '4B'
            END IF;
        END LOOP;
        -- The same unit told twice is one.
        IF here <> '' AND strpos(' ' || units || ' ', ' ' || here || ' ') = 0 THEN
            units := ltrim(units || ' ' || here);
        END IF;
    END LOOP;
    IF strpos(street, 'BOX') > 0 THEN
        street := regexp_replace(street,
            '^ (PO |P O |POST OFFICE |POST OFC )?(BOX|POBOX) ([0-9A-Z]+)$', ' PO BOX \3');
    ELSIF left(street, 5) = ' POB ' THEN
        street := ' PO BOX' || substr(street, 5);
    END IF;
    RETURN substr(street, 2) || '|' || units;
END $$;

-- 'IL' of 'Illinois', 'il' or 'IL.'; as it is where it is no state.
CREATE FUNCTION normalize_state(state text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    state := btrim(translate(upper(state), '.', ''));
    IF length(state) <= 2 THEN
        RETURN state;
    END IF;
    RETURN coalesce('{"ALABAMA":"AL","ALASKA":"AK","ARIZONA":"AZ","ARKANSAS":"AR","CALIFORNIA":"CA",
        "COLORADO":"CO","CONNECTICUT":"CT","DELAWARE":"DE","DISTRICT OF COLUMBIA":"DC",
        "FLORIDA":"FL","GEORGIA":"GA","HAWAII":"HI","IDAHO":"ID","ILLINOIS":"IL","INDIANA":"IN",
        "IOWA":"IA","KANSAS":"KS","KENTUCKY":"KY","LOUISIANA":"LA","MAINE":"ME","MARYLAND":"MD",
        "MASSACHUSETTS":"MA","MICHIGAN":"MI","MINNESOTA":"MN","MISSISSIPPI":"MS","MISSOURI":"MO",
        "MONTANA":"MT","NEBRASKA":"NE","NEVADA":"NV","NEW HAMPSHIRE":"NH","NEW JERSEY":"NJ",
        "NEW MEXICO":"NM","NEW YORK":"NY","NORTH CAROLINA":"NC","NORTH DAKOTA":"ND","OHIO":"OH",
        "OKLAHOMA":"OK","OREGON":"OR","PENNSYLVANIA":"PA","RHODE ISLAND":"RI",
        "SOUTH CAROLINA":"SC","SOUTH DAKOTA":"SD","TENNESSEE":"TN","TEXAS":"TX","UTAH":"UT",
        "VERMONT":"VT","VIRGINIA":"VA","WASHINGTON":"WA","WEST VIRGINIA":"WV","WISCONSIN":"WI",
        "WYOMING":"WY","PUERTO RICO":"PR","GUAM":"GU","VIRGIN ISLANDS":"VI"}'::jsonb ->> state,
        state);
END $$;

-- The key of an address: hex SHA-256 of its normal form, version 1. NULL without a street, or with
-- neither ZIP nor city and state. Two flats have two keys; one address has one however it is spelt.
CREATE FUNCTION compute_addr_hash(line1 text, city text, state text, zip text,
                                  unit text DEFAULT '', line2 text DEFAULT '') RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    folded text := address_fold(line1, line2, unit);
    town text;
    five text;
BEGIN
    IF left(folded, 1) IN ('', '|') THEN
        RETURN NULL;
    END IF;
    five := coalesce(normalize_zip(zip), '');
    state := coalesce(normalize_state(state), '');
    town := btrim(translate(fold_letters(coalesce(city, '')), '.,''-', '   '));
    IF five = '' AND (town = '' OR state = '') THEN
        RETURN NULL;
    END IF;
    IF left(town, 6) IN ('SAINT ', 'MOUNT ') THEN
        town := left(town, 1) || substr(town, 5);
    ELSIF left(town, 5) = 'FORT ' THEN
        town := 'FT' || substr(town, 5);
    END IF;
    RETURN encode(sha256(convert_to(
        concat_ws('|', '1', folded, town, state, five), 'UTF8')), 'hex');
END $$;

-- Who lives at an address: the folded words of a person's name in the order of the alphabet, else
-- of a company's; '' when neither is known. 'Smith, John A.' is 'JOHN SMITH'.
CREATE FUNCTION addr_owner_of(full_name text, first_name text, last_name text, company text,
                              owner_company text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    words text[];
    kept text[] := '{}';
    word text;
BEGIN
    words := name_words(CASE WHEN btrim(coalesce(full_name, '')) <> '' THEN full_name
                             ELSE concat_ws(' ', first_name, last_name) END);
    IF cardinality(words) > 0 THEN
        FOREACH word IN ARRAY words LOOP
            IF length(word) > 1 AND NOT word = ANY ('{MR,MRS,MS,DR,MISS,AND}') THEN
                kept := kept || word;
            END IF;
        END LOOP;
    ELSE
        words := name_words(CASE WHEN btrim(coalesce(owner_company, '')) <> '' THEN owner_company
                                 ELSE company END);
        IF cardinality(words) = 0 THEN
            RETURN '';
        END IF;
        FOREACH word IN ARRAY words LOOP
            IF NOT word = ANY ('{LLC,INC,CORP,CORPORATION,CO,COMPANY,LTD,LP,LLP,PLLC,PC,THE}') THEN
                kept := kept || word;
            END IF;
        END LOOP;
    END IF;
    IF cardinality(kept) = 0 THEN
        kept := words;
    END IF;
    IF cardinality(kept) = 1 THEN
        RETURN left(kept[1], 120);
    ELSIF cardinality(kept) = 2 THEN
        RETURN left(CASE WHEN kept[1] COLLATE "C" <= kept[2] THEN kept[1] || ' ' || kept[2]
                         ELSE kept[2] || ' ' || kept[1] END, 120);
    END IF;
    RETURN left((SELECT string_agg(w, ' ' ORDER BY w COLLATE "C") FROM unnest(kept) AS w), 120);
END $$;

-- The words of a name in upper case, without accents and punctuation; '{}' of none.
CREATE FUNCTION name_words(name text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_remove(string_to_array(translate(fold_letters(name),
        ',;:-_/&()"+.''`', '         '), ' '), ''), '{}')
$$;

-- --- phones and e-mails -----------------------------------------------------------------------

-- E.164 of a phone number in any format ('+12025550142'), or '?' and why it is none; NULL of
-- nothing. Ten digits, or eleven with a 1, are North American; others begin with +, 00 or 011.
-- Extensions are left out: they cannot be texted.
CREATE FUNCTION phone_read(raw text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text;
    n integer;
    abroad boolean := false;
BEGIN
    IF raw IS NULL OR raw = '' THEN
        RETURN NULL;
    END IF;
    IF right(raw, 2) = '.0' THEN  -- a spreadsheet's number
        raw := left(raw, -2);
    END IF;
    t := translate(raw, E' ().-/\t\r\n\u00a0\u2010\u2011\u2012\u2013\u2014\u200b\u202a\u202c', '');
    IF t = '' THEN
        RETURN CASE WHEN btrim(raw) = '' THEN NULL ELSE '?no digits' END;
    END IF;
    IF translate(t, '0123456789+', '') <> '' THEN
        t := regexp_replace(lower(t), '^(tel|phone|mobile|cell|home|work|office):?', '');
        t := regexp_replace(t, '[;,]*(extension|ext|x|#)[=:]?[0-9]{1,7}$', '');
        IF translate(t, '0123456789+', '') <> '' THEN
            RETURN CASE WHEN t ~ '^[0-9]+e\+[0-9]+$' THEN '?rounded by a spreadsheet'
                        ELSE '?not only digits' END;
        END IF;
    END IF;
    IF left(t, 1) = '+' THEN
        abroad := true;
        t := substr(t, 2);
    ELSIF left(t, 3) = '011' AND length(t) > 11 THEN
        abroad := true;
        t := substr(t, 4);
    ELSIF left(t, 2) = '00' AND length(t) > 10 THEN
        abroad := true;
        t := substr(t, 3);
    END IF;
    IF strpos(t, '+') > 0 THEN
        RETURN '?a plus in the middle';
    END IF;
    n := length(t);
    IF abroad AND left(t, 1) <> '1' THEN
        RETURN CASE WHEN n < 7 THEN '?too short' WHEN n > 15 THEN '?too long'
                    WHEN left(t, 1) = '0' THEN '?no country code' ELSE '+' || t END;
    END IF;
    IF n = 11 AND left(t, 1) = '1' THEN
        t := substr(t, 2);
    ELSIF n <> 10 OR abroad THEN
        RETURN CASE WHEN n = 7 AND NOT abroad THEN '?no area code' WHEN n < 10 THEN '?too short'
                    WHEN n = 11 THEN '?eleven digits that do not begin with 1'
                    ELSE '?too long' END;
    END IF;
    IF left(t, 1) < '2' OR substr(t, 2, 1) = '9' OR substr(t, 2, 2) = '11' THEN
        RETURN '?no such area code: ' || left(t, 3);
    ELSIF substr(t, 4, 1) < '2' OR substr(t, 5, 2) = '11' THEN
        RETURN '?no such exchange: ' || substr(t, 4, 3);
    END IF;
    RETURN '+1' || t;
END $$;

-- E.164, or NULL.
CREATE FUNCTION normalize_phone(raw text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN left(phone_read(raw), 1) = '+' THEN phone_read(raw) END
$$;

-- 'xn--…' of one label of a domain (RFC 3492); as it is where it is ASCII.
CREATE FUNCTION punycode(label text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    codes integer[];
    done text;
    n integer := 128;
    delta integer := 0;
    bias integer := 72;
    basic integer;
    handled integer;
    least_code integer;
    q integer;
    t integer;
    k integer;
    c integer;
BEGIN
    IF octet_length(label) = length(label) THEN
        RETURN label;
    END IF;
    SELECT array_agg(ascii(s.ch) ORDER BY s.place),
           coalesce(string_agg(s.ch, '' ORDER BY s.place) FILTER (WHERE ascii(s.ch) < 128), '')
    INTO codes, done
    FROM string_to_table(label, NULL) WITH ORDINALITY AS s(ch, place);
    basic := length(done);
    handled := basic;
    done := CASE WHEN basic > 0 THEN done || '-' ELSE '' END;
    WHILE handled < cardinality(codes) LOOP
        SELECT min(x) INTO least_code FROM unnest(codes) AS x WHERE x >= n;
        delta := delta + (least_code - n) * (handled + 1);
        n := least_code;
        FOREACH c IN ARRAY codes LOOP
            IF c < n THEN
                delta := delta + 1;
            ELSIF c = n THEN
                q := delta;
                k := 36;
                LOOP
                    t := greatest(1, least(26, k - bias));
                    EXIT WHEN q < t;
                    done := done || substr('abcdefghijklmnopqrstuvwxyz0123456789',
                                           1 + t + (q - t) % (36 - t), 1);
                    q := (q - t) / (36 - t);
                    k := k + 36;
                END LOOP;
                done := done || substr('abcdefghijklmnopqrstuvwxyz0123456789', 1 + q, 1);
                delta := CASE WHEN handled = basic THEN delta / 700 ELSE delta / 2 END;
                delta := delta + delta / (handled + 1);
                k := 0;
                WHILE delta > 455 LOOP
                    delta := delta / 35;
                    k := k + 36;
                END LOOP;
                bias := k + 36 * delta / (delta + 38);
                delta := 0;
                handled := handled + 1;
            END IF;
        END LOOP;
        delta := delta + 1;
        n := n + 1;
    END LOOP;
    RETURN 'xn--' || done;
END $$;

-- An e-mail address folded as leads/captures.py folds it (a test compares the two): NFKC, lower
-- case, the domain in ASCII; dots and plus tags stay. NULL when it is none.
CREATE FUNCTION normalize_email(raw text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    t text;
    cut integer;
    domain text;
BEGIN
    IF raw IS NULL OR raw = '' THEN
        RETURN NULL;
    END IF;
    IF octet_length(raw) = length(raw) THEN
        t := lower(btrim(raw, E' \t\n\r\f\u000b\u001c\u001d\u001e\u001f'));
        domain := t;
    ELSE
        t := lower(btrim(normalize(raw, NFKC), E' \t\n\r\f\u000b\u001c\u001d\u001e\u001f\u0085\u2028\u2029'));
        IF strpos(raw, U&'\0130') > 0 THEN  -- a dotted capital I, which has no small one letter
            RETURN NULL;
        END IF;
        cut := length(t) - strpos(reverse(t), '@') + 1;
        domain := left(t, cut) || regexp_replace(substr(t, cut + 1),
            '[\u00df-\u00f6\u00f8-\u0220\u03ac-\u03ce\u0430-\u045f\u3041-\u3094\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3]',
            'a', 'g');
    END IF;
    -- Without {n,m}: those make the expression ten times as slow. Lengths are asked afterwards.
    IF strpos(domain, '..') > 0 OR strpos(domain, '@') NOT BETWEEN 2 AND 65 OR domain !~
       '^[a-z0-9\u0131](?:[a-z0-9\u0131!#$%&''*+/=?^_`{|}~.-]*[a-z0-9\u0131_+-])?@(?:[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?\.)+(?:[a-z][a-z]+|xn--[a-z0-9-]+)$'
    THEN
        RETURN NULL;
    END IF;
    domain := substr(domain, strpos(domain, '@') + 1);
    IF length(domain) - length(replace(domain, '.', '')) > 8
       OR (length(domain) > 63 AND domain ~ '[^.]{64}') THEN
        RETURN NULL;
    END IF;
    cut := strpos(t, '@');
    IF octet_length(t) <> length(t) THEN
        domain := replace(replace(substr(t, cut + 1), U&'\00df', 'ss'), U&'\03c2', U&'\03c3');
        SELECT string_agg(punycode(s.label), '.' ORDER BY s.place),
               max(length(punycode(s.label)))
        INTO domain, cut
        FROM string_to_table(domain, '.') WITH ORDINALITY AS s(label, place);
        IF cut > 63 THEN
            RETURN NULL;
        END IF;
        t := left(t, strpos(t, '@')) || domain;
        cut := strpos(t, '@');
    END IF;
    RETURN CASE WHEN length(t) - cut <= 253 THEN t END;
END $$;

-- --- values of files --------------------------------------------------------------------------

-- Whole number of '$1,234.50' (rounded), '(500)' or '-3'; NULL of anything else.
CREATE FUNCTION read_whole(raw text) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    raw := translate(raw, '$, _', '');
    IF raw <> '' AND length(raw) <= 15 AND translate(raw, '0123456789', '') = '' THEN
        RETURN raw::bigint;  -- what nearly all are, without an expression
    END IF;
    IF left(raw, 1) = '(' AND right(raw, 1) = ')' THEN
        raw := '-' || substr(raw, 2, length(raw) - 2);
    END IF;
    IF raw ~ '^-?[0-9]{1,15}(\.[0-9]*)?$' THEN
        RETURN round(raw::numeric);
    END IF;
    RETURN NULL;
END $$;

-- Whole number within bounds, else NULL.
CREATE FUNCTION read_within(raw text, low bigint, high bigint) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    n bigint := read_whole(raw);
BEGIN
    RETURN CASE WHEN n BETWEEN low AND high THEN n END;
END $$;

-- Number of '2.5' or '1,234'; NULL of anything else.
CREATE FUNCTION read_number(raw text) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    raw := translate(raw, '$, %', '');
    RETURN CASE WHEN raw ~ '^-?[0-9]{1,15}(\.[0-9]{1,6})?$' THEN raw::numeric END;
END $$;

-- True or false of the words lists use; NULL of anything else.
CREATE FUNCTION read_flag(raw text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN lower(btrim(raw)) IN ('y', 'yes', 'true', 't', '1', 'x', 'owner occupied')
                THEN true
                WHEN lower(btrim(raw)) IN ('n', 'no', 'false', 'f', '0', 'absentee') THEN false END
$$;

-- Day of '2026-01-31', '1/31/2026' or '20260131'; NULL of anything else.
CREATE FUNCTION read_day(raw text) RETURNS date
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    found text[];
BEGIN
    found := regexp_match(btrim(raw), '^([12][0-9]{3})-?([0-9]{2})-?([0-9]{2})([T ].*)?$');
    IF found IS NOT NULL THEN
        RETURN make_date(found[1]::int, found[2]::int, found[3]::int);
    END IF;
    found := regexp_match(btrim(raw), '^([0-9]{1,2})/([0-9]{1,2})/([12][0-9]{3})( .*)?$');
    IF found IS NOT NULL THEN
        RETURN make_date(found[3]::int, found[1]::int, found[2]::int);
    END IF;
    RETURN NULL;
EXCEPTION WHEN datetime_field_overflow THEN
    RETURN NULL;
END $$;

-- --- the lead keeps its address key -----------------------------------------------------------

-- An address is hashed when it comes and again when it changes. Where another live lead of the same
-- owner has it, the hash stays empty: two leads never share one, and nobody's edit fails for it.
CREATE FUNCTION lead_addr_hash() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW.addr_hash := compute_addr_hash(NEW.address_line1, NEW.city, NEW.region, NEW.postal_code,
                                       NEW.unit, NEW.address_line2);
    NEW.addr_owner := addr_owner_of(NEW.full_name, NEW.first_name, NEW.last_name, NEW.company,
                                    NEW.owner_company);
    NEW.addr_hash_version := 1;
    IF NEW.addr_hash IS NOT NULL AND NEW.superseded_at IS NULL AND EXISTS (
        SELECT FROM leads
        WHERE tenant_id = NEW.tenant_id AND addr_hash = NEW.addr_hash
          AND addr_owner = NEW.addr_owner AND superseded_at IS NULL AND id <> NEW.id) THEN
        NEW.addr_hash := NULL;
    END IF;
    RETURN NEW;
END $$;

-- Whoever comes with a hash of this version has used compute_addr_hash: batches do.
CREATE TRIGGER trg_leads_addr_hash
    BEFORE INSERT ON leads
    FOR EACH ROW WHEN (NEW.addr_hash_version <> 1)
    EXECUTE FUNCTION lead_addr_hash();
CREATE TRIGGER trg_leads_addr_rehash
    BEFORE UPDATE OF address_line1, address_line2, unit, city, region, postal_code, full_name,
                     first_name, last_name, company, owner_company, superseded_at ON leads
    FOR EACH ROW WHEN (
        NEW.addr_hash_version <> 1
        OR OLD.superseded_at IS DISTINCT FROM NEW.superseded_at
        OR OLD.address_line1 <> NEW.address_line1 OR OLD.address_line2 <> NEW.address_line2
        OR OLD.unit <> NEW.unit OR OLD.city <> NEW.city OR OLD.region <> NEW.region
        OR OLD.postal_code <> NEW.postal_code OR OLD.full_name <> NEW.full_name
        OR OLD.first_name <> NEW.first_name OR OLD.last_name <> NEW.last_name
        OR OLD.company <> NEW.company OR OLD.owner_company <> NEW.owner_company)
    EXECUTE FUNCTION lead_addr_hash();

-- Ask a person whether two leads are one; or, with *incoming*, whose a record is that names both.
-- One question per pair: a second record is added to the open one, under "more". Returns the
-- review, or NULL where somebody said before that they are two and no record waits.
CREATE FUNCTION lead_propose(owner uuid, one uuid, other uuid, surety integer, why jsonb,
                             asker text, run uuid, incoming jsonb, correlation text) RETURNS uuid
    LANGUAGE plpgsql AS $$
DECLARE
    low uuid := least(one, other);
    high uuid := greatest(one, other);
    waiting record;
    made uuid;
BEGIN
    IF incoming IS NULL AND EXISTS (
        SELECT FROM merge_reviews WHERE tenant_id = owner AND left_id = low AND right_id = high
          AND status = 'not_duplicate') THEN
        RETURN NULL;
    END IF;
    LOOP
        SELECT r.id, r.incoming AS kept INTO waiting FROM merge_reviews AS r
        WHERE r.tenant_id = owner AND r.left_id = low AND r.right_id = high AND r.status = 'open'
        FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO merge_reviews (tenant_id, id, left_id, right_id, score, reasons, source, run_id,
                                   incoming, status, reason, correlation_id)
        VALUES (owner, ulid_new(), low, high, surety, why, asker, run, incoming, 'open', '',
                correlation)
        ON CONFLICT (tenant_id, left_id, right_id) WHERE status = 'open' DO NOTHING
        RETURNING id INTO made;
        IF made IS NOT NULL THEN
            RETURN made;
        END IF;
    END LOOP;
    IF incoming IS NULL OR waiting.kept @> incoming
       OR waiting.kept -> 'more' @> jsonb_build_array(incoming) THEN
        RETURN waiting.id;
    END IF;
    UPDATE merge_reviews AS r
    SET incoming = CASE WHEN waiting.kept IS NULL THEN lead_propose.incoming
            ELSE waiting.kept || jsonb_build_object('more',
                coalesce(waiting.kept -> 'more', '[]') || jsonb_build_array(lead_propose.incoming))
            END,
        updated_at = clock_timestamp()
    WHERE r.tenant_id = owner AND r.id = waiting.id;
    RETURN waiting.id;
END $$;

-- A lead whose address another one of the same owner has: a person is asked. After the row stands,
-- since the review refers to it.
CREATE FUNCTION lead_addr_contested() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    holder uuid;
BEGIN
    SELECT id INTO holder FROM leads
    WHERE tenant_id = NEW.tenant_id AND superseded_at IS NULL AND id <> NEW.id
      AND addr_owner = NEW.addr_owner AND addr_hash IS NOT NULL
      AND addr_hash = compute_addr_hash(NEW.address_line1, NEW.city, NEW.region, NEW.postal_code,
                                        NEW.unit, NEW.address_line2);
    IF holder IS NOT NULL THEN
        PERFORM lead_propose(NEW.tenant_id, holder, NEW.id, 90,
                             '[{"field": "address", "agrees": true}]', 'finder', NULL, NULL, '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER trg_leads_addr_contested
    AFTER INSERT OR UPDATE OF address_line1, address_line2, unit, city, region, postal_code,
                              full_name, first_name, last_name, company, owner_company,
                              superseded_at, addr_hash_version ON leads
    FOR EACH ROW WHEN (NEW.addr_hash IS NULL AND NEW.addr_hash_version = 1
                       AND NEW.address_line1 <> '' AND NEW.superseded_at IS NULL)
    EXECUTE FUNCTION lead_addr_contested();

-- Hash the next *most* leads after *since* that came before there were hashes; returns the last one,
-- NULL when none is left. Run by the owner, in a migration: it looks across tenants.
CREATE FUNCTION hash_old_leads(since uuid, most integer) RETURNS uuid
    LANGUAGE plpgsql AS $$
DECLARE
    old record;
    last uuid;
BEGIN
    FOR old IN
        SELECT id FROM leads WHERE addr_hash_version = 0 AND id > since ORDER BY id LIMIT most
        FOR NO KEY UPDATE
    LOOP
        -- One by one: the trigger must see the hash of the one before. It also sets the version.
        UPDATE leads SET address_line1 = address_line1 WHERE id = old.id;
        last := old.id;
    END LOOP;
    RETURN last;
END $$;
REVOKE ALL ON FUNCTION hash_old_leads(uuid, integer) FROM PUBLIC;

-- --- the ladder -------------------------------------------------------------------------------

-- The lead that a merged one lives on in; itself while it lives.
CREATE FUNCTION lead_living(owner uuid, subject uuid) RETURNS uuid
    LANGUAGE sql STABLE AS $$
    WITH RECURSIVE chain AS (
        SELECT id, merged_into_id, 0 AS depth FROM leads WHERE tenant_id = owner AND id = subject
        UNION ALL
        SELECT l.id, l.merged_into_id, c.depth + 1
        FROM chain AS c JOIN leads AS l ON l.tenant_id = owner AND l.id = c.merged_into_id
        WHERE c.depth < 50
    )
    SELECT id FROM chain ORDER BY depth DESC LIMIT 1
$$;

-- How well two owners of an address agree: 0 the same, 1 one has more words ('JORDAN', 'JORDAN
-- SAMPLE'), 2 one is unknown, NULL they are two.
CREATE FUNCTION owners_fit(one text, other text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN one = other AND one <> '' THEN 0
                WHEN one = '' OR other = '' THEN 2
                WHEN string_to_array(one, ' ') <@ string_to_array(other, ' ')
                  OR string_to_array(other, ' ') <@ string_to_array(one, ' ') THEN 1 END
$$;

-- Whose records are these? *keys* is a query of (row_no integer, given uuid, vendor text, mak text,
-- fips text, apn text, hash text, owner text, phones text[], emails text[]); rows with one number
-- are one record. Names and hashes as addr_owner_of and compute_addr_hash make them, nothing empty
-- but owner. Strong keys first: a given lead alone, else all of vendor, mak, apn and address
-- together; only without any of them phone and e-mail.
-- Returns one row per record that meets a lead: verdict 'lead' (it is *lead_id*, *found_by* the
-- strongest key; *others* share a key with it), 'many' (all in *others*) or 'new' (*others* share a
-- phone or an e-mail, but neither name nor address).
CREATE FUNCTION identity_ladder(tenant uuid, src text, keys text)
    RETURNS TABLE (row_no integer, verdict text, found_by text, lead_id uuid, others uuid[])
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        WITH k AS MATERIALIZED (%1$s),
        strong AS (
            SELECT k.row_no, 1 AS rung, 'given' AS found_by, k.given AS lead_id
            FROM k WHERE k.given IS NOT NULL
            UNION ALL
            SELECT k.row_no, 2, 'vendor', l.id
            FROM k JOIN leads AS l ON l.tenant_id = $1 AND l.source = $2
                AND l.source_id = k.vendor AND l.source_id IS NOT NULL AND l.superseded_at IS NULL
            UNION ALL
            SELECT k.row_no, 2, 'vendor', lead_living($1, l.id)
            FROM k JOIN leads AS l ON l.tenant_id = $1 AND l.source = $2
                AND l.source_id = k.vendor AND l.superseded_at IS NOT NULL
            UNION ALL
            SELECT k.row_no, 3, 'mak', l.id
            FROM k JOIN leads AS l ON l.tenant_id = $1 AND l.mak = k.mak AND l.mak <> ''
                AND l.superseded_at IS NULL
            UNION ALL
            SELECT k.row_no, 4, 'apn', l.id
            FROM k JOIN leads AS l ON l.tenant_id = $1 AND l.county_fips = k.fips
                AND l.apn = k.apn AND l.apn <> '' AND l.county_fips <> ''
                AND l.superseded_at IS NULL
            UNION ALL
            SELECT a.row_no, 5, 'address', a.id
            FROM (
                SELECT f.*, min(f.fit) OVER (PARTITION BY f.row_no) AS best
                FROM (
                    SELECT k.row_no, l.id, owners_fit(k.owner, l.addr_owner) AS fit
                    FROM k JOIN leads AS l ON l.tenant_id = $1 AND l.addr_hash = k.hash
                        AND l.addr_hash IS NOT NULL AND l.superseded_at IS NULL
                ) AS f
                WHERE f.fit IS NOT NULL
            ) AS a
            WHERE a.fit = a.best
            UNION ALL
            SELECT k.row_no, 5, 'address', lead_living($1, l.id)
            FROM k JOIN leads AS l ON l.tenant_id = $1 AND l.addr_hash = k.hash
                AND l.addr_owner = k.owner AND l.superseded_at IS NOT NULL
        ),
        known AS MATERIALIZED (
            SELECT s.row_no, s.lead_id, min(s.rung) AS rung FROM strong AS s
            WHERE s.lead_id IS NOT NULL
            GROUP BY 1, 2
        ),
        -- A phone or an e-mail alone: nobody where name and address both say it is somebody else,
        -- and nobody where they live together under two names.
        weak AS MATERIALIZED (
            SELECT w.row_no, w.lead_id, min(w.rung) AS rung, min(w.fit) AS fit,
                   count(DISTINCT w.rung) AS ways,
                   bool_or(w.is_same) AS is_same, bool_or(w.is_near) AS is_near
            FROM (
                SELECT v.row_no, l.id AS lead_id, v.rung, f.fit,
                       f.fit IS NOT NULL OR (v.hash IS NULL OR l.addr_hash IS NULL) AS is_same,
                       f.fit IS NULL AND v.hash <> l.addr_hash AS is_near
                FROM (
                    SELECT k.row_no, k.hash, k.owner, 6 AS rung, 'phone' AS kind, p.value
                    FROM k CROSS JOIN unnest(k.phones) AS p(value)
                    UNION ALL
                    SELECT k.row_no, k.hash, k.owner, 7, 'email', p.value
                    FROM k CROSS JOIN unnest(k.emails) AS p(value)
                ) AS v
                JOIN contact_points AS c ON c.tenant_id = $1 AND c.normalized = v.value
                    AND c.kind = v.kind
                JOIN leads AS l ON l.tenant_id = $1 AND l.id = c.lead_id AND l.superseded_at IS NULL
                CROSS JOIN LATERAL (SELECT owners_fit(v.owner, l.addr_owner) AS fit) AS f
                -- NOT IN is hashed whatever the planner thinks of the size of what it cannot know.
                WHERE v.row_no NOT IN (SELECT n.row_no FROM known AS n)
            ) AS w
            GROUP BY 1, 2
        ),
        found AS (
            SELECT n.row_no, n.lead_id, n.rung, 0 AS fit, 0 AS ways FROM known AS n
            UNION ALL
            SELECT w.row_no, w.lead_id, w.rung, w.fit, w.ways FROM weak AS w WHERE w.is_same
        ),
        told AS (
            SELECT f.row_no, count(*) AS leads, min(f.rung) AS rung,
                   array_agg(f.lead_id ORDER BY f.rung, f.lead_id) AS ids,
                   -- Of several that share a number: the one that shares the e-mail, too, else the
                   -- one with this very name.
                   (array_agg(f.lead_id) FILTER (WHERE f.ways = 2)) AS twice,
                   (array_agg(f.lead_id) FILTER (WHERE f.fit = 0 AND f.rung > 5)) AS namesakes
            FROM found AS f GROUP BY 1
        ),
        chosen AS (
            SELECT t.*, CASE WHEN t.leads = 1 OR t.rung = 1 THEN t.ids[1]
                             WHEN cardinality(t.twice) = 1 THEN t.twice[1]
                             WHEN cardinality(t.namesakes) = 1 THEN t.namesakes[1] END AS it
            FROM told AS t
        )
        SELECT t.row_no, CASE WHEN t.it IS NULL THEN 'many' ELSE 'lead' END,
               ('{given,vendor,mak,apn,address,phone,email}'::text[])[t.rung], t.it,
               CASE WHEN t.it IS NULL THEN t.ids[1:10] ELSE (array_remove(t.ids, t.it))[1:10] END
        FROM chosen AS t
        UNION ALL
        SELECT w.row_no, 'new', '', NULL, (array_agg(w.lead_id ORDER BY w.lead_id))[1:10]
        FROM weak AS w
        WHERE w.is_near AND w.row_no NOT IN (SELECT t.row_no FROM told AS t)
        GROUP BY 1
    $query$, keys) USING tenant, src;
END $$;

-- Whose record is this one? *record*: lead, source_id, mak, county_fips, apn, the address and name
-- columns of a lead, phones and emails (lists, normal). As identity_ladder, verdict 'new' and no
-- others where nothing meets.
CREATE FUNCTION identity_of(owner uuid, src text, record jsonb,
                            OUT verdict text, OUT found_by text, OUT lead_id uuid, OUT others uuid[])
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    phones text[] := ARRAY(SELECT jsonb_array_elements_text(record -> 'phones'));
    emails text[] := ARRAY(SELECT jsonb_array_elements_text(record -> 'emails'));
BEGIN
    SELECT i.verdict, i.found_by, i.lead_id, i.others INTO verdict, found_by, lead_id, others
    FROM identity_ladder(owner, src, format(
        'SELECT 1 AS row_no, %L::uuid AS given, %L AS vendor, %L AS mak, %L AS fips, %L AS apn,'
        ' %L AS hash, %L AS owner, %L::text[] AS phones, %L::text[] AS emails',
        lead_living(owner, (record ->> 'lead')::uuid), nullif(record ->> 'source_id', ''),
        nullif(record ->> 'mak', ''), nullif(record ->> 'county_fips', ''),
        nullif(record ->> 'apn', ''),
        compute_addr_hash(record ->> 'address_line1', record ->> 'city', record ->> 'region',
                          record ->> 'postal_code', record ->> 'unit', record ->> 'address_line2'),
        addr_owner_of(record ->> 'full_name', record ->> 'first_name', record ->> 'last_name',
                      record ->> 'company', record ->> 'owner_company'),
        phones, emails)) AS i;
    verdict := coalesce(verdict, 'new');
    found_by := coalesce(found_by, '');
    others := coalesce(others, '{}');
END $$;

-- What a record changes of a lead: {field: [before, after]}. *told*: values by column, without
-- empty ones; *ranks*: source → rank, with "" for the others. A value is replaced by one of a
-- source that ranks as high or higher; an empty one always.
CREATE FUNCTION lead_delta(subject leads, told jsonb, src text, ranks jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    was jsonb := to_jsonb(subject);
    mine integer := coalesce((ranks ->> src)::integer, (ranks ->> '')::integer);
    delta jsonb := '{}';
    name text;
    here text;
    there text;
    teller text;
BEGIN
    FOR name, there IN SELECT t.key, t.value FROM jsonb_each_text(told) AS t LOOP
        here := was ->> name;
        CONTINUE WHEN here IS NOT DISTINCT FROM there;
        IF here IS NOT NULL AND here <> '' THEN
            teller := coalesce(subject.provenance #>> ARRAY[name, 'source'], subject.source);
            CONTINUE WHEN mine < coalesce((ranks ->> teller)::integer, (ranks ->> '')::integer);
        END IF;
        delta := delta || jsonb_build_object(
            name, jsonb_build_array(was -> name, told -> name));
    END LOOP;
    RETURN delta;
END $$;

-- --- one record at a time ---------------------------------------------------------------------

-- Give a lead a phone or e-mail, or bring the one it has up to date: another source is noted, a
-- line type that was unknown is filled in. Returns the point, NULL when *value* is none. It is
-- never verified here: only a verification record does that.
CREATE FUNCTION merge_contact_point(lead_id uuid, kind text, value text, source text,
                                    score numeric DEFAULT NULL, line_type text DEFAULT 'unknown')
    RETURNS uuid
    LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    owner uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
    plain text := CASE merge_contact_point.kind
        WHEN 'phone' THEN normalize_phone(merge_contact_point.value)
        WHEN 'email' THEN normalize_email(merge_contact_point.value) END;
    points smallint := CASE WHEN merge_contact_point.score IS NOT NULL
        THEN greatest(0, least(100, round(merge_contact_point.score))) END;
    point uuid;
BEGIN
    IF merge_contact_point.kind NOT IN ('phone', 'email') THEN
        RAISE EXCEPTION 'a contact point is a phone or an email, not %', merge_contact_point.kind
            USING ERRCODE = 'LD030';
    ELSIF plain IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM FROM leads WHERE tenant_id = owner AND id = merge_contact_point.lead_id
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such lead' USING ERRCODE = 'LD012';
    END IF;
    INSERT INTO contact_points (tenant_id, id, lead_id, kind, raw, normalized, line_type, source,
                                sources, score, is_primary, verified_by)
    SELECT owner, ulid_new(), merge_contact_point.lead_id, merge_contact_point.kind,
           left(merge_contact_point.value, 320), plain, merge_contact_point.line_type,
           merge_contact_point.source, ARRAY[merge_contact_point.source], points,
           NOT EXISTS (SELECT FROM contact_points AS c
                       WHERE c.tenant_id = owner AND c.lead_id = merge_contact_point.lead_id
                         AND c.kind = merge_contact_point.kind AND c.is_primary), ''
    ON CONFLICT (tenant_id, lead_id, kind, normalized) DO UPDATE
    SET sources = CASE
            WHEN EXCLUDED.source = ANY (contact_points.sources)
              OR (contact_points.sources = '{}' AND contact_points.source = EXCLUDED.source)
            THEN contact_points.sources
            WHEN contact_points.sources = '{}' THEN ARRAY[contact_points.source, EXCLUDED.source]
            ELSE contact_points.sources || EXCLUDED.source END,
        line_type = CASE WHEN EXCLUDED.line_type = 'unknown' THEN contact_points.line_type
                         ELSE EXCLUDED.line_type END,
        score = coalesce(EXCLUDED.score, contact_points.score)
    RETURNING id INTO point;
    RETURN point;
END $$;

-- The seeds' door for one record of a vendor: bring its lead up to date or make it, in the running
-- tenant. Returns the lead. Where several leads could be it, nothing of them changes: a person is
-- asked, the record waits in merge_reviews, and NULL is returned.
CREATE FUNCTION upsert_lead(
    p_source text,
    p_vendor_record_id text DEFAULT NULL,
    p_vendor_list_id text DEFAULT NULL,
    p_address_line1 text DEFAULT NULL,
    p_address_line2 text DEFAULT NULL,
    p_city text DEFAULT NULL,
    p_state text DEFAULT NULL,
    p_postal_code text DEFAULT NULL,
    p_apn text DEFAULT NULL,
    p_owner_first_name text DEFAULT NULL,
    p_owner_last_name text DEFAULT NULL,
    p_owner_full_name text DEFAULT NULL,
    p_owner_company text DEFAULT NULL,
    p_property_value numeric DEFAULT NULL,
    p_estimated_equity numeric DEFAULT NULL,
    p_age integer DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql AS $$
DECLARE
    owner uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
    told jsonb;
    list jsonb := CASE WHEN p_vendor_list_id <> ''
        THEN jsonb_build_object('vendor_list_id', p_vendor_list_id) ELSE '{}' END;
    ranks jsonb;
    it record;
    subject leads;
    fresh leads;
    delta jsonb;
    made uuid;
BEGIN
    IF owner IS NULL THEN
        RAISE EXCEPTION 'enter a tenant first' USING ERRCODE = 'LD031';
    ELSIF coalesce(p_source, '') = '' THEN
        RAISE EXCEPTION 'say who the record is from' USING ERRCODE = 'LD032';
    END IF;
    PERFORM identity_turn(owner, 'one');
    SELECT coalesce(jsonb_object_agg(t.key, t.value), '{}') INTO told
    FROM jsonb_each(jsonb_build_object(
        'address_line1', left(btrim(p_address_line1), 200),
        'address_line2', left(btrim(p_address_line2), 200), 'city', left(btrim(p_city), 100),
        'region', CASE WHEN length(normalize_state(p_state)) = 2 THEN normalize_state(p_state) END,
        'postal_code', left(btrim(p_postal_code), 10), 'apn', left(btrim(p_apn), 60),
        'first_name', left(btrim(p_owner_first_name), 80),
        'last_name', left(btrim(p_owner_last_name), 80),
        'full_name', left(btrim(p_owner_full_name), 200),
        'owner_company', left(btrim(p_owner_company), 200),
        'property_value', round(p_property_value), 'estimated_equity', round(p_estimated_equity),
        'age', CASE WHEN p_age BETWEEN 0 AND 130 THEN p_age END)) AS t
    WHERE t.value NOT IN ('null', '""');
    SELECT * INTO it FROM identity_of(
        owner, p_source, told || jsonb_build_object('source_id', p_vendor_record_id));
    IF it.verdict = 'many' THEN
        PERFORM lead_propose(owner, it.others[1], one, 90,
            jsonb_build_array(jsonb_build_object('field', it.found_by, 'agrees', true)), 'pull', NULL,
            jsonb_build_object('source', p_source, 'source_id', coalesce(p_vendor_record_id, ''),
                               'kind', 'pull', 'fields', told, 'raw', list), '')
        FROM unnest(it.others[2:]) AS one;
        RETURN NULL;
    ELSIF it.verdict = 'new' THEN
        made := ulid_new();
        fresh := jsonb_populate_record(NULL::leads, told);
        INSERT INTO leads (tenant_id, id, source, source_id, address_line1, address_line2, city,
                           region, postal_code, apn, first_name, last_name, full_name, company,
                           owner_company, title, unit, time_zone, property_value, estimated_equity,
                           age, state, stage, event_seq, attempt_count, raw_data,
                           first_seen_at, last_seen_at)
        VALUES (owner, made, p_source, nullif(p_vendor_record_id, ''),
                coalesce(fresh.address_line1, ''), coalesce(fresh.address_line2, ''),
                coalesce(fresh.city, ''), coalesce(fresh.region, ''),
                coalesce(fresh.postal_code, ''), coalesce(fresh.apn, ''),
                coalesce(fresh.first_name, ''), coalesce(fresh.last_name, ''),
                coalesce(fresh.full_name, ''), '', coalesce(fresh.owner_company, ''), '', '', '',
                fresh.property_value, fresh.estimated_equity, fresh.age, 'new', 'initial_message',
                0, 0, list, clock_timestamp(), clock_timestamp());
        INSERT INTO lead_events (tenant_id, id, lead_id, seq, kind, to_state, payload,
                                 correlation_id, at)
        VALUES (owner, ulid_new(), made, 0, 'created', 'new',
                jsonb_build_object('source', p_source), '', clock_timestamp());
        RETURN made;
    END IF;
    SELECT * INTO subject FROM leads WHERE tenant_id = owner AND id = it.lead_id
    FOR NO KEY UPDATE;
    ranks := source_ranks(owner);
    delta := lead_delta(subject, told, p_source, ranks);
    IF delta <> '{}' THEN
        SELECT jsonb_object_agg(d.key, d.value -> 1) INTO told FROM jsonb_each(delta) AS d;
        PERFORM lead_apply(owner, subject.id, told, jsonb_build_object(
            'source', p_source, 'at', clock_timestamp()));
        PERFORM lead_move(owner, subject.id, 'pulled', NULL, NULL,
                          jsonb_build_object('source', p_source, 'fields', delta), NULL, NULL, '');
    END IF;
    RETURN it.lead_id;
END $$;

-- Set columns of a lead to *told* (by column, nothing empty) and note who said so.
CREATE FUNCTION lead_apply(owner uuid, subject uuid, told jsonb, teller jsonb) RETURNS void
    LANGUAGE sql AS $$
    UPDATE leads AS l
    SET (address_line1, address_line2, unit, city, region, postal_code, county, county_fips, apn, mak,
         first_name, last_name, full_name, company, title, owner_company, sector, sic_code,
         sic_description, employee_count, annual_revenue, website, age, owner_occupied,
         property_value, estimated_equity, is_decision_maker, property_owner_likelihood,
         time_zone, microsite_url)
        = (SELECT p.address_line1, p.address_line2, p.unit, p.city, p.region, p.postal_code, p.county,
                  p.county_fips, p.apn, p.mak, p.first_name, p.last_name, p.full_name,
                  p.company, p.title, p.owner_company, p.sector, p.sic_code, p.sic_description,
                  p.employee_count, p.annual_revenue, p.website, p.age, p.owner_occupied,
                  p.property_value, p.estimated_equity, p.is_decision_maker,
                  p.property_owner_likelihood, p.time_zone, p.microsite_url
           FROM jsonb_populate_record(l, told) AS p),
        provenance = l.provenance
            || (SELECT jsonb_object_agg(k, teller) FROM jsonb_object_keys(told) AS k),
        last_seen_at = clock_timestamp(),
        updated_at = clock_timestamp()
    WHERE l.tenant_id = owner AND l.id = subject
$$;

-- Rank of every source: the higher overwrites. "" is for those nobody named. What a tenant says in
-- its settings counts more.
CREATE FUNCTION source_ranks(owner uuid) RETURNS jsonb
    LANGUAGE sql STABLE AS $$
    SELECT '{"person": 100, "melissa": 80, "batchdata_skiptrace": 80, "twilio": 80, "instantly": 80,
             "apollo": 60, "": 50, "upload": 40, "propstream": 40, "usbizdata": 40, "lead_lab": 40,
             "tracerfy": 40, "manual": 20, "inbound": 20}'::jsonb
        || coalesce((SELECT settings -> 'source_ranks' FROM tenants WHERE id = owner
                       AND jsonb_typeof(settings -> 'source_ranks') = 'object'), '{}')
$$;

-- Tell the planner what is in leads and contact_points where much of it came since it last looked:
-- a batch that is joined with a table it believes empty is compared row by row. As the owner, since
-- only the owner may; it tells nothing.
CREATE FUNCTION refresh_lead_statistics() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT s.relname FROM pg_stat_user_tables AS s
        WHERE s.schemaname = 'public' AND s.relname IN ('leads', 'contact_points')
          AND (coalesce(s.last_analyze, s.last_autoanalyze) IS NULL
               OR s.n_mod_since_analyze > least(50000, 1000 + s.n_live_tup / 10))
    LOOP
        EXECUTE format('ANALYZE (SKIP_LOCKED) public.%I', name);
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION refresh_lead_statistics() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refresh_lead_statistics() TO fairlead_app;

-- Batches that write leads take turns, tenant by tenant: without, two could make the same lead of
-- one phone number, which no unique key would see. Those of one *runner* go side by side. Held until
-- the transaction ends; returns a number that is another one whenever somebody else was at it.
CREATE FUNCTION identity_turn(owner uuid, runner text) RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    mine constant text := runner;
    turn record;
BEGIN
    LOOP
        SELECT t.runner, t.number INTO turn FROM identity_turns AS t WHERE t.tenant_id = owner;
        IF NOT FOUND THEN
            INSERT INTO identity_turns (tenant_id, id, runner, number)
            VALUES (owner, ulid_new(), '', 0) ON CONFLICT (tenant_id) DO NOTHING;
        ELSIF turn.runner = mine AND mine <> 'one' THEN
            SELECT t.number INTO turn FROM identity_turns AS t
            WHERE t.tenant_id = owner AND t.runner = mine
            FOR SHARE;
            IF FOUND THEN
                RETURN turn.number;
            END IF;
        ELSE
            UPDATE identity_turns AS t SET runner = mine, number = t.number + 1
            WHERE t.tenant_id = owner RETURNING t.number INTO turn;
            RETURN turn.number;
        END IF;
    END LOOP;
END $$;
