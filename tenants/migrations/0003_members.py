from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("tenants", "0002_initial")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql="""
                DROP POLICY tenants_read ON tenants;
                DROP POLICY tenants_add ON tenants;
                DROP POLICY tenants_change ON tenants;
                ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY;
                ALTER TABLE tenants DISABLE ROW LEVEL SECURITY;
                DELETE FROM tenants WHERE slug = 'platform';
                DROP FUNCTION tenants_of(bigint);
            """,
        )
    ]
