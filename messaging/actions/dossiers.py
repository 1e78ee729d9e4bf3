"""Handing a dossier out: its head stays with us."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from messaging.dossier import dossier_of, file_lines, head_of
from messaging.models import DossierExport
from tenants.models import Actor, Tenant


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What is found about a file that somebody brings back."""

    holds: bool  # it holds together
    export: DossierExport | None  # the time we handed exactly this file out


@transaction.atomic
def export_dossier(address: str, *, tenant: Tenant, actor: Actor) -> tuple[bytes, DossierExport]:
    """Write the dossier of an address as a file, and keep its head."""
    dossier = dossier_of(address)
    lines, head = file_lines(dossier, tenant=tenant.name, by=actor.name)
    made = DossierExport.objects.create(
        address=dossier.known_as, head=head, records=len(lines), actor=actor
    )
    return b"".join(lines), made


def check_dossier(data: bytes) -> Checked:
    """Tell whether a file is whole, and whether it is one that we handed out.

    A forger can compute all hashes of a changed file anew, but not put its head into our table.
    """
    head = head_of(data)
    if head is None:
        return Checked(holds=False, export=None)
    found = DossierExport.objects.filter(head=head).select_related("actor").order_by("id")
    return Checked(holds=True, export=found.first())
