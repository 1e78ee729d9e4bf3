from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    dependencies = [("messaging", "0001_initial"), ("integrations", "0002_intake")]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql="""
                DROP TRIGGER outbound_messages_gate ON outbound_messages;
                DROP TRIGGER outbound_messages_mirror ON outbound_messages;
                DROP TRIGGER messages_guard ON messages;
                DROP INDEX outbound_by_provider_id;
                DROP FUNCTION live_seq, prune_live_events, live_events_after,
                    tenants_with_wakes, tenants_with_sends,
                    claim_sends, suppress_queued, outbound_mirror, message_guard, message_rank,
                    outbound_gate, consent_block;
                GRANT UPDATE, DELETE ON live_events TO fairlead_app;
            """,
        )
    ]
