from pathlib import Path

from django.db import migrations

from tenants.sql import function_in, run_sql_file

INTAKE = Path(__file__).parent.parent / "sql" / "0002_intake.sql"
BEFORE = [
    function_in(INTAKE, name) for name in ("take_delivery", "endpoint_by_token", "claim_work")
]


class Migration(migrations.Migration):
    dependencies = [("integrations", "0003_senders_and_repair")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql=f"""
                DROP FUNCTION endpoint_by_token, mappings_of, flight_begin, dead_flights,
                    tenant_of_account, claim_work, take_delivery;
                DROP INDEX integrations_account;
                DROP TABLE work_flights;
                {" ".join(BEFORE)}
                REVOKE ALL ON FUNCTION endpoint_by_token(text) FROM PUBLIC;
                GRANT EXECUTE ON FUNCTION endpoint_by_token(text) TO fairlead_app;
                ALTER TABLE webhook_work DROP COLUMN fingerprint;
            """,
        )
    ]
