from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("integrations", "0009_pulls"), ("leads", "0009_scores")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql="DROP FUNCTION tenants_with_enrichments, enrichments_claim,"
            " waterfall_what_if, waterfall_forecast, waterfall_points, waterfall_gate,"
            " waterfall_facts, vendor_settle, circuit_note, vendor_reserve;",
        ),
    ]
