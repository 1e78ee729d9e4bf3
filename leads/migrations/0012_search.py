import django.contrib.postgres.indexes
import django.db.models.expressions
import django.db.models.functions.comparison
import django.db.models.functions.text
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("leads", "0011_imports"),
        ("pipelines", "0003_part3"),
        ("tenants", "0005_part3"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='lead',
            index=models.Index(models.F('tenant'), django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Lower(django.db.models.functions.comparison.Coalesce(django.db.models.functions.comparison.NullIf('last_name', models.Value('')), models.Func('full_name', models.Value(' '), models.Value(-1), function='split_part'))), 'text_pattern_ops'), condition=models.Q(('full_name', ''), ('last_name', ''), _negated=True), name='leads_surname'),
        ),
        RemoveIndexConcurrently(
            model_name='lead',
            name='leads_last_name',
        ),
        AddIndexConcurrently(
            model_name='lead',
            index=models.Index(models.F('tenant'), django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Lower(django.db.models.functions.text.Substr('address_line1', django.db.models.expressions.CombinedExpression(django.db.models.functions.text.StrIndex('address_line1', models.Value(' ')), '+', models.Value(1)))), 'text_pattern_ops'), condition=models.Q(('address_line1', ''), _negated=True), name='leads_street'),
        ),
        AddIndexConcurrently(
            model_name='leadlabel',
            index=models.Index(fields=['tenant', 'label', 'lead'], name='lead_labels_label'),
        ),
        AddIndexConcurrently(
            model_name='leadscore',
            index=models.Index(fields=['tenant', 'band', 'score', 'lead'], name='lead_scores_rank'),
        ),
        RemoveIndexConcurrently(
            model_name='leadscore',
            name='lead_scores_band',
        ),
        run_sql_file(__file__, reverse_sql="DROP FUNCTION find_leads"),
    ]
