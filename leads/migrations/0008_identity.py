import django.db.models.deletion
import django.db.models.functions.datetime
import tenants.constraints
import tenants.context
import tenants.fields
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

from tenants.sql import run_sql_file

#: Leads per transaction.
BATCH = 2000


def hash_leads(apps, schema_editor):
    """Give the leads that are there their address keys, a batch per transaction.

    Of two that share one the second stays without, and a person is asked.
    """
    last = "00000000-0000-0000-0000-000000000000"
    while last is not None:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT hash_old_leads(%s, %s)", [last, BATCH])
            last = cursor.fetchone()[0]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("leads", "0007_part3_valid"),
        ("pipelines", "0003_part3"),
        ("tenants", "0005_part3"),
    ]

    operations = [
        migrations.CreateModel(
            name="IdentityTurn",
            fields=[
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ("id", tenants.fields.UlidField(editable=False, prefix="idt", primary_key=True, serialize=False)),
                ("runner", models.CharField(help_text="A run, or one transaction of its own.", max_length=40)),
                ("number", models.BigIntegerField(default=0, help_text="Grows whenever the turn passes on.")),
            ],
            options={"db_table": "identity_turns"},
        ),
        migrations.AddField(
            model_name="identityturn",
            name="tenant",
            field=models.ForeignKey(db_index=False, default=tenants.context.current_tenant_id, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"),
        ),
        migrations.AddConstraint(
            model_name="identityturn",
            constraint=models.UniqueConstraint(fields=("tenant",), name="ux_identity_turns"),
        ),
        migrations.AddConstraint(
            model_name="identityturn",
            constraint=models.UniqueConstraint(fields=("tenant", "id"), name="ux_identity_turns_tenant_id"),
        ),
        migrations.AddConstraint(
            model_name="identityturn",
            constraint=tenants.constraints.TenantIsolation(name="identity_turns_isolation"),
        ),
        migrations.AddConstraint(
            model_name="identityturn",
            constraint=tenants.constraints.NoDelete(name="identity_turns_stay"),
        ),
        run_sql_file(
            __file__,
            reverse_sql="""
                DROP TRIGGER trg_leads_addr_contested ON leads;
                DROP TRIGGER trg_leads_addr_rehash ON leads;
                DROP TRIGGER trg_leads_addr_hash ON leads;
                DROP FUNCTION refresh_lead_statistics, identity_turn, source_ranks, lead_apply, upsert_lead,
                    merge_contact_point, lead_delta, identity_of, identity_ladder, owners_fit,
                    lead_living, hash_old_leads, lead_addr_contested, lead_propose, lead_addr_hash,
                    read_day, read_flag, read_number, read_within, read_whole, normalize_email, punycode,
                    normalize_phone, phone_read, name_words, addr_owner_of, compute_addr_hash,
                    normalize_state, address_fold, fold_letters, normalize_zip;
                DROP SCHEMA staging CASCADE;
            """,
        ),
        AddIndexConcurrently(
            model_name="lead",
            index=models.Index(condition=models.Q(("superseded_at__isnull", False)), fields=["tenant", "source", "source_id"], name="leads_merged_vendor"),
        ),
        AddIndexConcurrently(
            model_name="lead",
            index=models.Index(condition=models.Q(("superseded_at__isnull", False)), fields=["tenant", "addr_hash"], name="leads_merged_addr"),
        ),
        migrations.RunPython(hash_leads, migrations.RunPython.noop, atomic=False),
    ]
