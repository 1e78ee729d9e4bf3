from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("messaging", "0002_sending")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql="""
                DROP FUNCTION file_inbound, ring, open_conversation, stage_of_sender,
                    lead_of_sender;
            """,
        )
    ]
