from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("leads", "0009_scores")]

    operations = [
        ValidateConstraint("contactpoint", "contact_points_phone_is_e164"),
        ValidateConstraint("qualityscore", "fk_quality_scores_lead"),
    ]
