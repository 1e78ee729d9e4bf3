from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("integrations", "0010_waterfall")]

    operations = [run_sql_file(__file__, reverse_sql="DELETE FROM verification_codes;")]
