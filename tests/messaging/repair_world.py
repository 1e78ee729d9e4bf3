"""Events in every state, for the tests of the pages about webhooks and failures."""

from __future__ import annotations

from django.utils import timezone

from integrations.failures import fingerprint_of
from integrations.models import WebhookEvent, WebhookWork
from pipelines.models import DeadLetter
from tests.messaging.pages import person, url


def operator(office):
    """A client logged in as an operator of the office."""
    return person(office, role="operator", name="Olga Operator")[1]


def page(client, office, path, **query):
    """Return the text of a page, which must be there."""
    answer = client.get(url(office, path), query)
    assert answer.status_code == 200, (answer.status_code, answer.content[:300])
    return answer.content.decode()


def kill(office, how_many=1, error="RuntimeError: boom", text="boom", stage_kind="webhook"):
    """Make dead work with its letters."""
    for n in range(how_many):
        office.post(office.payload(text, theirs=f"+1202{n:07d}"))
    with office.inside():
        works = list(WebhookWork.objects.filter(state="ready").order_by("seq"))
        name, _, words = error.partition(": ")
        fingerprint = fingerprint_of(name, words)
        WebhookWork.objects.filter(state="ready").update(
            state="dead", attempts=5, last_error=error, fingerprint=fingerprint
        )
        return DeadLetter.objects.bulk_create(
            DeadLetter(
                stage=stage_kind,
                ref=str(work.seq),
                subject="signalhouse MESSAGE_RECEIVED",
                error_class=name,
                error=error,
                fingerprint=fingerprint,
                retry_after=timezone.now(),
            )
            for work in works
        )


def newest(office):
    with office.inside():
        return WebhookEvent.objects.order_by("-id").first()


def state_of(office, **which):
    with office.inside():
        return list(
            WebhookWork.objects.filter(**which).order_by("seq").values_list("state", flat=True)
        )
