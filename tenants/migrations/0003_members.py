from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("tenants", "0002_initial")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql="DELETE FROM tenants WHERE slug = 'platform'; DROP FUNCTION tenants_of(bigint);",
        )
    ]
