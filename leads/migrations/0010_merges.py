import django.db.models.deletion
from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations, models

import tenants.constraints
from tenants.operations import AddNotValid
from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    atomic = False  # each step is its own, so that nothing is locked while old rows are read
    dependencies = [("leads", "0009_scores")]

    operations = [
        migrations.AddConstraint(
            model_name='leadtransition',
            constraint=models.UniqueConstraint(fields=('from_state', 'to_state', 'version'), name='ux_lead_transitions_version'),
        ),
        migrations.AddField(
            model_name='leadevent',
            name='machine',
            field=models.SmallIntegerField(db_default=1, default=1, help_text='Version of the machine that allows the move; empty: a merge does.', null=True),
        ),
        migrations.AddField(
            model_name='leadevent',
            name='merge',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='leads.merge'),
        ),
        migrations.RemoveConstraint(model_name='leadevent', name='lead_events_only_consent_lifts'),
        AddNotValid(
            model_name='leadevent',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('from_state', 'suppressed'), _negated=True), ('to_state', 'suppressed'), ('consent_event__isnull', False), models.Q(('kind', 'unmerged'), ('merge__isnull', False)), _connector='OR'), name='lead_events_only_consent_lifts'),
        ),
        AddNotValid(
            model_name='leadevent',
            constraint=models.CheckConstraint(condition=models.Q(('machine__isnull', False), models.Q(('kind__in', ['merged', 'merged_in', 'unmerged']), ('merge__isnull', False)), _connector='OR'), name='lead_events_only_merges_jump'),
        ),
        migrations.RemoveConstraint(model_name='leadevent', name='fk_lead_events_move'),
        AddNotValid(
            model_name='leadevent',
            constraint=tenants.constraints.References(deferred=False, fields=('moved_from', 'to_state', 'machine'), name='fk_lead_events_move', to='leads.LeadTransition', to_fields=('from_state', 'to_state', 'version')),
        ),
        AddNotValid(
            model_name='leadevent',
            constraint=tenants.constraints.References(deferred=False, fields=('tenant', 'merge'), name='fk_lead_events_merge', to='leads.Merge', to_fields=('tenant', 'id')),
        ),
        ValidateConstraint(model_name='leadevent', name='lead_events_only_consent_lifts'),
        ValidateConstraint(model_name='leadevent', name='lead_events_only_merges_jump'),
        ValidateConstraint(model_name='leadevent', name='fk_lead_events_move'),
        ValidateConstraint(model_name='leadevent', name='fk_lead_events_merge'),
        run_sql_file(
            __file__,
            reverse_sql="""
                DROP FUNCTION lead_family, lead_merge_move, put_back, propose_review,
                    lead_per_number, duplicates_found, duplicate_pairs, gmail_name, ulid_at;
            """,
        ),
    ]
