from django.db import migrations

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
    ]
