from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0005_spool"),
        ("pipelines", "0002_letters_and_incidents"),
    ]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql="""
                DROP INDEX webhook_work_discarded, pipeline_runs_bulk;
                DROP FUNCTION flight_end, flight_cancel, tenants_with_letters,
                    tenants_with_bulk_work, cause_of;
            """,
        )
    ]
