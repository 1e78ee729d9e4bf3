"""Pages and records that became no leads: kept as dead letters, and tried again by a person."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from integrations.failures import fingerprint_of
from integrations.models import PullPage, VendorCall
from integrations.providers import providers
from integrations.providers.data import Searches, SearchPage
from integrations.pull_pages import Bought
from integrations.pull_records import resolve_records
from pipelines.artifacts import ArtifactDamaged, read
from pipelines.models import Artifact, DeadLetter
from tenants.actions import note
from tenants.correlation import correlation_id


class RetryRefused(Exception):
    """The letter cannot be tried again; nothing was written."""


def note_lost_page(bought: Bought, error: Exception, *, source: str) -> None:
    """Keep, for a person to retry, that a page which was paid for could not be filed."""
    first = str(error).partition("\n")[0]
    words = {
        "subject": f"{source} search",
        "error_class": type(error).__name__[:80],
        "error": f"{first[:2000]}\nThe page at {bought.skip} is kept as {bought.artifact_id}.",
        "fingerprint": fingerprint_of(type(error).__name__, first),
        "correlation_id": correlation_id(),
    }
    DeadLetter.objects.create(stage="pull", ref=bought.call_id, **words)


@transaction.atomic
def retry_letter(letter_id: str, *, actor_id: str) -> int:
    """Resolve again, from the page that was kept, what became no leads; nothing is paid.

    Args:
        letter_id: ``dlq_…`` of stage ``pull``.
        actor_id: who wants it.

    Returns:
        How many records still become no leads; with 0 the letter is settled.

    Raises:
        RetryRefused: it is no open letter of a pull, or its page cannot be read.
    """
    letter = (
        DeadLetter.objects.select_for_update(no_key=True)
        .filter(pk=letter_id, stage="pull", status="open")
        .first()
    )
    if letter is None:
        raise RetryRefused("This letter is settled, or none of a pull.")
    artifact, source = _page_of(letter.ref)
    records = read_page(artifact, source).records
    results = resolve_records(
        records, source=source, run_id=artifact.run_id, artifact_id=artifact.pk
    )
    failed = [one for one in results if one.outcome == "error"]
    changed = {"retries": F("retries") + 1, "updated_at": Now(), "actor_id": actor_id}
    if failed:
        changed["error"] = (
            f"{len(failed)} of {len(records)} records: {failed[0].problem}"
            f"\nRecords: {', '.join(one.key for one in failed[:20])}"
        )
    else:
        changed |= {"status": "resolved", "closed_at": Now()}
    DeadLetter.objects.filter(pk=letter.pk).update(**changed)
    after = {"records": len(records), "failed": len(failed)}
    note("pull.retried", actor_id=actor_id, subject=letter, after=after)
    return len(failed)


def _page_of(ref: str) -> tuple[Artifact, str]:
    """Return what a letter names: a page that was filed, or a call whose page was not."""
    if ref.startswith("spg_"):
        page = PullPage.objects.select_related("artifact", "sweep").filter(pk=ref).first()
        if page is not None and page.artifact is not None:
            return page.artifact, page.sweep.source
    elif ref.startswith("strace_"):
        paid = VendorCall.objects.filter(pk=ref).first()
        answer = paid and paid.answers.select_related("artifact").filter(is_final=True).first()
        if paid and answer and answer.artifact is not None:
            return answer.artifact, paid.provider
    raise RetryRefused("The page of this letter was not kept.")


def read_page(artifact: Artifact, source: str) -> SearchPage:
    """Return a page that was kept, as it was read then.

    Raises:
        RetryRefused: it is damaged, or of a vendor that is not known any more.
    """
    kind = providers[source] if source in list(providers) else None
    if kind is None or not issubclass(kind, Searches):
        raise RetryRefused("The vendor of this page is not known any more.")
    try:
        body = read(artifact)
    except ArtifactDamaged as error:
        raise RetryRefused(f"The page that was kept cannot be read: {error}") from error
    return kind().read_search(200, {}, body)
