from pathlib import Path

from django.db import migrations

from tenants.sql import function_in, run_sql_file

RULES = Path(__file__).parent.parent / "sql" / "0002_rules.sql"
BEFORE = " ".join(
    function_in(RULES, name).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)
    for name in ("consent_base", "consent_apply", "consent_guard")
)


class Migration(migrations.Migration):
    dependencies = [("leads", "0003_registry")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql=f"""
                {BEFORE}
                DROP FUNCTION consent_bases, consent_address, address_digest;
                DROP TABLE erasure_keys;
            """,
        )
    ]
