"""Where an enrichment goes from here: it waits, it is tried again, or it ends with or without."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from django.db.models.functions import Now

from integrations.failures import LETTER_BACKOFF, MAX_RETRIES, fingerprint_of
from integrations.models import Enrichment, WaterfallStage
from integrations.waterfall_plan import facts_of
from leads.models import Lead
from pipelines.models import DeadLetter
from tenants.context import database_now

#: Tries of one question before its enrichment is a dead letter; the pauses between them.
TRIES, PAUSE_S = 3, 30.0


def later(seconds: float) -> timedelta:
    """Return a pause with some chance in it, so that not all come back at once."""
    return timedelta(seconds=seconds * random.uniform(0.9, 1.3))  # noqa: S311  # no secret


def wait_until(enrichment: Enrichment, state: str, until: datetime, words: str = "") -> None:
    """Let an enrichment wait for a vendor, a cap or a circuit."""
    if enrichment.state not in ("queued", "running", "parked", "held"):
        return
    save(enrichment, state=state, available_at=until, lease_until=None, error=words[:500])
    status = "parked" if state == "parked" else "queued"
    Lead.objects.filter(pk=enrichment.lead_id).update(enrichment_status=status)


def finish(
    enrichment: Enrichment, *, state: str, error: str = "", letter: WaterfallStage | None = None
) -> None:
    """End an enrichment; a dead one leaves a letter that says what it died of."""
    facts = facts_of(enrichment.lead_id)
    enrichment.steps = [step for step in enrichment.steps if not step.get("end")]
    enrichment.steps.append({"end": True, **facts.as_json()})
    save(
        enrichment,
        state=state,
        error=error[:2000],
        lease_until=None,
        finished_at=Now(),
        score_after=facts.score,
        saved_cents=sum(step.get("saved", 0) for step in enrichment.steps),
    )
    lead = Lead.objects.filter(pk=enrichment.lead_id)
    match state:
        case "done":
            lead.update(enrichment_status="done", last_enriched_at=Now())
            close_letters(enrichment.pk)
        case "failed":
            lead.update(enrichment_status="failed")
            _write_letter(enrichment, letter, error)
        case _:
            lead.filter(last_enriched_at=None).update(enrichment_status="none")
            lead.filter(last_enriched_at__isnull=False).update(enrichment_status="done")
            close_letters(enrichment.pk, status="discarded", reason=error or "cancelled")


def try_again(
    enrichment: Enrichment, stage: WaterfallStage, entry: dict[str, Any], error: str
) -> bool:
    entry["tries"] += 1
    if entry["tries"] >= TRIES:
        entry["tries"] = 0
        finish(enrichment, state="failed", error=error, letter=stage)
    else:
        pause = PAUSE_S * 2 ** (entry["tries"] - 1)
        wait_until(enrichment, "queued", database_now() + later(pause), error)
    return False


def _write_letter(enrichment: Enrichment, stage: WaterfallStage | None, error: str) -> None:
    """Open a dead letter, or say of the open one that it was in vain once more."""
    letters = DeadLetter.objects.filter(ref=enrichment.pk, stage__in=["enrich", "verify"])
    letter = letters.filter(status__in=["open", "retrying"]).first()
    retries = letter.retries if letter else 0
    retry_after = None
    if retries < MAX_RETRIES:
        factor = 2**retries * random.uniform(0.75, 1.25)  # noqa: S311  # no secret
        retry_after = database_now() + LETTER_BACKOFF * factor
    if letter is not None:
        letters.filter(pk=letter.pk).update(
            status="open", error=error, retry_after=retry_after, updated_at=Now()
        )
        return
    kind = "verify" if stage and stage.kind != "enrich" else "enrich"
    DeadLetter.objects.create(
        stage=kind,
        ref=enrichment.pk,
        subject=(stage.name if stage else "Enrichment")[:120],
        error_class="VendorRefused",
        error=error,
        fingerprint=fingerprint_of("VendorRefused", error),
        retry_after=retry_after,
        correlation_id=enrichment.correlation_id,
    )


def close_letters(enrichment_id: str, *, status: str = "resolved", reason: str = "") -> None:
    """Close what is open about an enrichment: it was done after all, or nobody wants it."""
    DeadLetter.objects.filter(
        ref=enrichment_id, stage__in=["enrich", "verify"], status__in=["open", "retrying"]
    ).update(
        status=status, reason=reason[:500], closed_at=Now(), retry_after=None, updated_at=Now()
    )


def save(enrichment: Enrichment, **columns: Any) -> None:
    """Write the steps and *columns*; the state of one that ended is left as it is."""
    Enrichment.objects.filter(pk=enrichment.pk).update(
        steps=enrichment.steps,
        cost_cents=enrichment.cost_cents,
        updated_at=Now(),
        **columns,
    )
