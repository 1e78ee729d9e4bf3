import django.contrib.postgres.indexes
import django.db.models.functions.text
import tenants.constraints
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F

from tenants.operations import AddNotValid, AddUniqueConcurrently


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("leads", "0005_part3")]

    operations = [
        AddIndexConcurrently(
            model_name='lead',
            index=models.Index(condition=models.Q(('run__isnull', False)), fields=['tenant', 'run'], name='leads_run'),
        ),
        AddIndexConcurrently(
            model_name='lead',
            index=models.Index(models.F('tenant'), django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Lower('full_name'), 'text_pattern_ops'), condition=models.Q(('full_name', ''), _negated=True), name='leads_full_name'),
        ),
        AddIndexConcurrently(
            model_name='lead',
            index=models.Index(models.F('tenant'), django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Lower('last_name'), 'text_pattern_ops'), condition=models.Q(('last_name', ''), _negated=True), name='leads_last_name'),
        ),
        AddIndexConcurrently(
            model_name='lead',
            index=models.Index(models.F('tenant'), django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Lower('company'), 'text_pattern_ops'), condition=models.Q(('company', ''), _negated=True), name='leads_company'),
        ),
        AddIndexConcurrently(
            model_name='lead',
            index=models.Index(models.F('tenant'), django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Lower('address_line1'), 'text_pattern_ops'), condition=models.Q(('address_line1', ''), _negated=True), name='leads_address'),
        ),
        AddUniqueConcurrently(
            model_name='lead',
            constraint=models.UniqueConstraint(condition=models.Q(('addr_hash__isnull', False), ('superseded_at', None)), fields=('tenant', 'addr_hash', 'addr_owner'), name='ux_leads_addr'),
        ),
        AddUniqueConcurrently(
            model_name='lead',
            constraint=models.UniqueConstraint(condition=models.Q(('superseded_at', None), models.Q(('mak', ''), _negated=True)), fields=('tenant', 'mak'), name='ux_leads_mak'),
        ),
        AddUniqueConcurrently(
            model_name='lead',
            constraint=models.UniqueConstraint(condition=models.Q(('superseded_at', None), models.Q(('apn', ''), _negated=True), models.Q(('county_fips', ''), _negated=True)), fields=('tenant', 'county_fips', 'apn'), name='ux_leads_apn'),
        ),
        AddNotValid(
            model_name='lead',
            constraint=models.CheckConstraint(condition=models.Q(('enrichment_status__in', ['none', 'queued', 'running', 'parked', 'done', 'failed'])), name='leads_enrichment_is_known'),
        ),
        AddNotValid(
            model_name='lead',
            constraint=models.CheckConstraint(condition=models.Q(('county_fips', ''), ('county_fips__regex', '^[0-9]{5}$'), _connector='OR'), name='leads_county_fips_is_five_digits'),
        ),
        AddNotValid(
            model_name='lead',
            constraint=models.CheckConstraint(condition=models.Q(('age', None), ('age__lte', 130), _connector='OR'), name='leads_age_is_human'),
        ),
        AddNotValid(
            model_name='lead',
            constraint=models.CheckConstraint(condition=models.Q(('property_owner_likelihood', None), ('property_owner_likelihood__lte', 100), _connector='OR'), name='leads_likelihood_is_percent'),
        ),
        AddNotValid(
            model_name='lead',
            constraint=tenants.constraints.References(deferred=False, fields=('tenant', 'assigned_persona'), name='fk_leads_assigned_persona', to='leads.Worker', to_fields=('tenant', 'id')),
        ),
        AddNotValid(
            model_name='lead',
            constraint=tenants.constraints.References(deferred=False, fields=('tenant', 'run'), name='fk_leads_run', to='pipelines.PipelineRun', to_fields=('tenant', 'id')),
        ),
        AddNotValid(
            model_name='lead',
            constraint=tenants.constraints.References(deferred=False, fields=('tenant', 'artifact'), name='fk_leads_artifact', to='pipelines.Artifact', to_fields=('tenant', 'id')),
        ),
        AddIndexConcurrently(
            model_name='contactpoint',
            index=models.Index(models.F('tenant'), django.db.models.functions.text.Right('normalized', 4), condition=models.Q(('kind', 'phone')), name='contact_points_tail'),
        ),
        AddNotValid(
            model_name='contactpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('verified_at', None), ('verification', None)), models.Q(('verified_at__isnull', False), ('verification__isnull', False)), _connector='OR'), name='contact_points_verified_by_record'),
        ),
        AddNotValid(
            model_name='contactpoint',
            constraint=tenants.constraints.References(deferred=False, fields=('tenant', 'verification', 'id', 'is_proof'), name='fk_contact_points_verified', to='leads.Verification', to_fields=('tenant', 'id', 'point', 'is_verified')),
        ),
        AddNotValid(
            model_name='contactpoint',
            constraint=models.CheckConstraint(condition=models.Q(('line_type__in', ['unknown', 'mobile', 'landline', 'voip'])), name='contact_points_line_is_known'),
        ),
        AddNotValid(
            model_name='contactpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'phone'), _negated=True), ('normalized__startswith', '+'), ('normalized__startswith', 'erased:'), ('normalized__regex', '^[A-Za-z0-9 ]{1,11}$'), _connector='OR'), name='contact_points_phone_is_e164'),
        ),
        AddNotValid(
            model_name='contactpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('score', None), ('score__lte', 100), _connector='OR'), models.Q(('activity', None), ('activity__lte', 100), _connector='OR')), name='contact_points_scores_are_percent'),
        ),
        AddNotValid(
            model_name='contactpoint',
            constraint=tenants.constraints.References(deferred=False, fields=('tenant', 'contact'), name='fk_contact_points_contact', to='leads.Contact', to_fields=('tenant', 'id')),
        ),
        AddNotValid(
            model_name='contactpoint',
            constraint=tenants.constraints.References(deferred=False, fields=('tenant', 'verification'), name='fk_contact_points_verification', to='leads.Verification', to_fields=('tenant', 'id')),
        ),
    ]
