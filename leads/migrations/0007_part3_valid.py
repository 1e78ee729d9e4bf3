from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("leads", "0006_part3_keys")]

    operations = [
        ValidateConstraint(model_name="lead", name="leads_enrichment_is_known"),
        ValidateConstraint(model_name="lead", name="leads_county_fips_is_five_digits"),
        ValidateConstraint(model_name="lead", name="leads_age_is_human"),
        ValidateConstraint(model_name="lead", name="leads_likelihood_is_percent"),
        ValidateConstraint(model_name="lead", name="fk_leads_assigned_persona"),
        ValidateConstraint(model_name="lead", name="fk_leads_run"),
        ValidateConstraint(model_name="lead", name="fk_leads_artifact"),
        ValidateConstraint(model_name="contactpoint", name="contact_points_verified_by_record"),
        ValidateConstraint(model_name="contactpoint", name="fk_contact_points_verified"),
        ValidateConstraint(model_name="contactpoint", name="contact_points_line_is_known"),
        ValidateConstraint(model_name="contactpoint", name="contact_points_phone_is_e164"),
        ValidateConstraint(model_name="contactpoint", name="contact_points_scores_are_percent"),
        ValidateConstraint(model_name="contactpoint", name="fk_contact_points_contact"),
        ValidateConstraint(model_name="contactpoint", name="fk_contact_points_verification"),
    ]
