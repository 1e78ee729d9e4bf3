from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("integrations", "0001_initial"), ("leads", "0002_rules")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql="""
                DROP FUNCTION health_counts, claim_work, tenants_with_work, endpoint_by_token,
                    take_delivery, ensure_partitions;
                DROP TABLE webhook_work, webhook_events, webhook_receipts;
                DROP FUNCTION work_guard;
                DROP SCHEMA parts;
            """,
        )
    ]
