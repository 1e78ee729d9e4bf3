"""What happens when a CRM, a dialer or a payment service tells us something."""

from __future__ import annotations

from dataclasses import replace

from integrations import actions_contacts, actions_reported
from integrations.actions_enrich import enrich_import
from integrations.contacts import fitting
from integrations.events import (
    AppChanged,
    BroadcastReported,
    CallReported,
    ContactChanged,
    CrmMessage,
    PaymentSucceeded,
    VendorAnswered,
)
from integrations.processing import Source
from integrations.waterfall_plan import stages
from integrations.waterfall_work import answer_came
from leads.events import ImportFinished
from leads.imports.hooks import Estimate, estimator
from leads.mergeable import Child, follows, keeps
from leads.models import Import
from tenants.dispatch import on

_OPEN = "{0}.finished_at IS NULL"
follows(Child(table="external_ids"))
follows(
    Child(
        table="enrichments",
        stays=f"{_OPEN.format('s')} AND {_OPEN.format('m')}",
        refuses="Both are being enriched now. Wait until one is done, or cancel it.",
    )
)
keeps("vendor_calls", "lead_id", "history: what was paid was asked for that lead")


@on(ContactChanged)
def follow_contact(event: ContactChanged, *, source: Source) -> None:
    told = replace(event, facts=fitting(event.facts))
    source.note(actions_contacts.change_contact(told, source))


@on(CrmMessage)
def file_message(event: CrmMessage, *, source: Source) -> None:
    source.note(actions_reported.file_crm_message(event, source))


@on(CallReported)
def file_call(event: CallReported, *, source: Source) -> None:
    source.note(actions_reported.report_call(event, source))


@on(PaymentSucceeded)
def file_payment(event: PaymentSucceeded, *, source: Source) -> None:
    source.note(actions_reported.note_payment(event, source))


@on(BroadcastReported)
def keep_broadcast(event: BroadcastReported, *, source: Source) -> None:
    source.note(actions_reported.keep_broadcast(event, source))


@on(AppChanged)
def switch_app(event: AppChanged, *, source: Source) -> None:
    source.note(actions_reported.switch_app(event, source))


@on(VendorAnswered)
def take_answer(event: VendorAnswered, *, source: Source) -> None:
    source.note(answer_came(event, source))


@on(ImportFinished)
def enrich_what_came(event: ImportFinished) -> None:
    if event.enrich:
        enrich_import(event.import_id, event.run_id)


@estimator
def price_import(one: Import) -> Estimate | None:
    """Say what enriching the new leads of a file costs if every stage runs for each of them."""
    each = sum(stage.price_cents for stage in stages())
    if not each or not one.created:
        return None
    most = each * one.created
    return Estimate(
        most_cents=most,
        words=f"${most / 100:,.2f} for {one.created:,} new leads, ${each / 100:,.2f} each at most",
    )
