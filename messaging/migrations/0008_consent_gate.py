from pathlib import Path

from django.db import migrations

from tenants.sql import function_in, run_sql_file

APPS = Path(__file__).parent.parent.parent
BEFORE = " ".join(
    function_in(APPS / app / "sql" / file, name).replace(
        "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1
    )
    for app, file, name in (
        ("messaging", "0002_sending.sql", "consent_block"),
        ("messaging", "0005_claims.sql", "message_guard"),
        ("tenants", "0001_roles.sql", "refuse_change"),
    )
)

SQL = (Path(__file__).parent.parent / "sql" / f"{Path(__file__).stem}.sql").read_text("utf-8")
PATCH = SQL[SQL.index("CREATE PROCEDURE patch_function(") : SQL.index("CALL patch_function(")]


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0007_consent_pages"),
        ("integrations", "0007_contact_told"),
    ]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql=f"""
                {BEFORE}
                {PATCH}
                CALL patch_function('claim_sends',
                    'c.address = consent_address(owner, ''sms'', item.to_address)',
                    'c.address = item.to_address');
                CALL patch_function('outbound_gate',
                    'c.address = consent_address(NEW.tenant_id, ''sms'', NEW.to_address)',
                    'c.address = NEW.to_address');
                CALL patch_function('outbound_gate',
                    E'IF TG_OP = ''UPDATE'' AND NEW.to_address <> OLD.to_address AND'
                    ' redaction_covers(''outbound_messages'', to_jsonb(OLD), to_jsonb(NEW)) THEN'
                    '\\n        RETURN NEW;\\n    END IF;\\n    IF TG_OP = ''UPDATE'' THEN',
                    'IF TG_OP = ''UPDATE'' THEN');
                CALL patch_function('work_guard',
                    E'BEGIN\\n    IF NEW.their_number <> OLD.their_number AND'
                    ' redaction_covers(''webhook_work'', to_jsonb(OLD), to_jsonb(NEW)) THEN'
                    '\\n        RETURN NEW;\\n    END IF;\\n', E'BEGIN\\n');
                DROP PROCEDURE patch_function;
                DROP FUNCTION consent_block(uuid, text, text, boolean, text[]);
                DROP FUNCTION redaction_covers, redact_history, erase_address, seed_contact_rules, contact_rules_of,
                    texted_at, suppression_check, suppression_apply, suppression_undo,
                    tenants_with_consent_work;
                DROP TRIGGER contact_rules_version ON contact_rules;
                DROP FUNCTION contact_rule_version;
                DROP TABLE suppression_rows;
                DROP INDEX outbound_by_address;
            """,
        )
    ]
