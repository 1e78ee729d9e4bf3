from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("integrations", "0008_part3")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql="DROP FUNCTION pulls_due, has_vendor_ids_been_seen;",
        ),
    ]
