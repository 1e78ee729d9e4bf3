"""Twilio: SMS and MMS. Wire format: ``docs/providers/twilio.md``."""

from __future__ import annotations

from integrations.providers.base import providers
from integrations.providers.laml import Laml


@providers.register("twilio")
class Twilio(Laml):
    name = "twilio"
    label = "Twilio"
    note = (
        "Signatures cover the public address of this site: the webhook URL must reach it unchanged."
    )
    root = "/2010-04-01"
