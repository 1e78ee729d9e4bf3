from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("leads", "0001_initial")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql="""
                DROP TRIGGER lead_events_carry_state ON lead_events;
                DROP TRIGGER leads_guard ON leads;
                DROP TRIGGER consents_guard ON consents;
                DROP FUNCTION lead_follows_event, lead_guard, lead_may_move, lead_move,
                    lead_cancel_timers, consent_base, consent_apply, consent_guard,
                    tenants_with_timers;
                DELETE FROM lead_transitions;
                GRANT INSERT, UPDATE, DELETE ON lead_transitions TO fairlead_app;
            """,
        )
    ]
