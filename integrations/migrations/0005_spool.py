from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("integrations", "0004_repair")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql="""
                DROP FUNCTION reconciles_due, spools_waited_for, sends_paused, spool_stop, spool_report,
                    spool_renew, spool_register;
            """,
        )
    ]
