from pathlib import Path

from django.db import migrations

from tenants.sql import function_in, run_sql_file

SENDING = Path(__file__).parent.parent / "sql" / "0002_sending.sql"
REPLACED = ("outbound_gate", "message_guard", "outbound_mirror", "claim_sends")
BEFORE = [
    function_in(SENDING, name).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
    for name in (*REPLACED, "tenants_with_sends")
]


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0004_number_health"),
        ("integrations", "0004_repair"),
    ]

    operations = [
        run_sql_file(
            __file__,
            reverse_sql=f"""
                DROP TRIGGER messages_count ON messages;
                DROP TRIGGER outbound_messages_count ON outbound_messages;
                DROP TRIGGER phone_numbers_wake ON phone_numbers;
                DROP FUNCTION inbound_counts, outbound_counts, number_count, phone_number_wakes,
                    text_accepted;
                CREATE INDEX outbound_by_provider_id
                    ON outbound_messages (tenant_id, provider_message_id)
                    WHERE provider_message_id <> '';
                {" ".join(BEFORE)}
            """,
        )
    ]
