from pathlib import Path

from django.db import migrations

from tenants.sql import function_in, run_sql_file

BEFORE = function_in(
    Path(__file__).parent.parent / "sql" / "0003_filing.sql", "file_inbound"
).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)


class Migration(migrations.Migration):
    dependencies = [("messaging", "0008_consent_gate"), ("leads", "0010_merges")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql=f"""
                {BEFORE}
                DROP FUNCTION texts_return, household_texted;
            """,
        )
    ]
