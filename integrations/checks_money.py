"""What can be wrong with what is bought: accounts that do not work, calls nobody knows about."""

from __future__ import annotations

from collections.abc import Iterator

from integrations.models import ProviderCircuit, VendorAnswer, VendorInput
from pipelines.incidents import Problem, check


@check("vendor_circuit")
def vendor_circuit() -> Iterator[Problem]:
    """A vendor's account fails or is out of money: it is left alone, and its work waits."""
    rows = ProviderCircuit.objects.exclude(state="closed").select_related("integration")
    for row in rows.order_by("id"):
        yield Problem(
            subject=row.integration_id,
            title=f"{row.integration.name} is paused",
            advice=(row.last_error or "Its calls fail.")
            + " One call tries again by itself; its work is kept meanwhile.",
            path="money/",
            severity="critical" if row.tries > 2 else "warning",
        )


@check("unknown_calls")
def unknown_calls() -> Iterator[Problem]:
    """Paid calls without an answer: they keep their money until somebody settles them."""
    still_open = VendorInput.objects.filter(open_since__isnull=False).values("call")
    many = VendorAnswer.objects.filter(call__in=still_open, result="unknown").count()
    if many:
        yield Problem(
            title=f"{many:,} paid call{'s' if many != 1 else ''} of which nobody knows the outcome",
            advice="Compare them with the vendor's invoice and settle them.",
            path="money/unknown/",
        )
