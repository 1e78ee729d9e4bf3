from django.db import migrations, models
from django.db.models import Q

from tenants.constraints import References
from tenants.operations import AddNotValid
from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("leads", "0008_identity")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql="""
                DROP TRIGGER lead_labels_carry_flags ON lead_labels;
                DROP FUNCTION lead_flags_follow;
                DROP VIEW vw_campaign_ready_leads, vw_lead_quality_summary;
                DROP FUNCTION tenants_with_rescores, score_preview, update_lead_status_from_score,
                    compute_quality_score, score_next, score_leads, score_write, score_parts,
                    score_rule_of, seed_score_rule;
                ALTER TABLE lead_scores RESET (fillfactor);
            """,
        ),
        # An erased number keeps the hash of its address in its place.
        migrations.RemoveConstraint("contactpoint", "contact_points_phone_is_e164"),
        AddNotValid(
            "contactpoint",
            models.CheckConstraint(
                condition=~Q(kind="phone")
                | Q(normalized__startswith="+")
                | Q(normalized__startswith="erased:"),
                name="contact_points_phone_is_e164",
            ),
        ),
        # History hangs from the score, which hangs from the lead.
        migrations.RemoveConstraint("qualityscore", "fk_quality_scores_lead"),
        AddNotValid(
            "qualityscore",
            References(
                name="fk_quality_scores_lead",
                fields=["tenant", "lead"],
                to="leads.LeadScore",
                to_fields=["tenant", "lead"],
            ),
        ),
    ]
