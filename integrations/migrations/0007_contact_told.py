from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("integrations", "0005_spool")]

    operations = [run_sql_file(__file__, reverse_sql="DROP FUNCTION contact_told;")]
