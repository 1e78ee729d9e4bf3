import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from tenants.sql import run_sql_file

UNSETTLED = ["pending", "unknown"]


class Migration(migrations.Migration):
    dependencies = [("integrations", "0008_part3")]

    operations = [
        migrations.AddField(
            model_name="vendorcall",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=60),
                db_default=[],
                default=list,
                help_text="Of the counters it was taken from.",
                size=None,
            ),
        ),
        migrations.RemoveConstraint(model_name="vendoranswer", name="ux_vendor_answers_final"),
        migrations.RemoveField(model_name="vendoranswer", name="is_final"),
        migrations.AddField(
            model_name="vendoranswer",
            name="is_final",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.Q(("result__in", UNSETTLED), _negated=True),
                output_field=models.BooleanField(),
            ),
        ),
        migrations.AddConstraint(
            model_name="vendoranswer",
            constraint=models.UniqueConstraint(
                condition=models.Q(("result__in", UNSETTLED), _negated=True),
                fields=("tenant", "call"),
                name="ux_vendor_answers_final",
            ),
        ),
        migrations.AlterField(
            model_name="vendorinput",
            name="call",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                help_text="Empty: nobody was allowed to ask yet.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="integrations.vendorcall",
            ),
        ),
        migrations.AddField(
            model_name="vendorinput",
            name="open_since",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddConstraint(
            model_name="vendorinput",
            constraint=models.CheckConstraint(
                condition=models.Q(("open_since", None), ("call__isnull", False), _connector="OR"),
                name="vendor_inputs_open_has_call",
            ),
        ),
        migrations.AddIndex(
            model_name="vendorinput",
            index=models.Index(
                condition=models.Q(("open_since__isnull", False)),
                fields=["tenant", "open_since"],
                name="vendor_inputs_open",
            ),
        ),
        migrations.AddField(
            model_name="providercircuit",
            name="tries",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="Probes that failed since it opened."
            ),
        ),
        migrations.AddField(
            model_name="providercircuit",
            name="throttled_until",
            field=models.DateTimeField(help_text="Asked for by the vendor.", null=True),
        ),
        run_sql_file(
            __file__,
            reverse_sql="DROP FUNCTION vendor_settle, circuit_note, vendor_reserve;",
        ),
    ]
