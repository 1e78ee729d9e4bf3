"""Ask a vendor for a count or a page: paid under every cap, and settled whatever comes back."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

from integrations.ledger import Settlement
from integrations.models import PullSweep
from integrations.providers.data import SearchPage
from integrations.pull_money import (
    Pause,
    Reading,
    quote,
    reserve,
    settle_page,
    settle_unmade,
)
from integrations.pull_pages import Bought
from integrations.transport import Answer, NoAnswer, NotWritten, call
from pipelines.artifacts import keep
from tenants.context import database_now, tenant_context
from tenants.faultpoints import hit

#: Seconds a call may take, tries for one page, the first pause between them, the longest wait.
CALL_S, TRIES, PAUSE_S, LONGEST_WAIT_S = 60.0, 3, 1.0, 10.0
#: When a sweep that its vendor failed goes on by itself.
FAILED_PAUSE = timedelta(minutes=10)


def soon() -> datetime:
    return database_now() + FAILED_PAUSE


def buy(
    reading: Reading, sweep: PullSweep, found: int, counted_at: float, stop: threading.Event
) -> tuple[Bought, int, float]:
    """Ask for the page at the sweep's place, paid and settled.

    Raises:
        Pause: money or the vendor forbids it, or it is not known what became of it.
        Fenced: somebody else reads the sweep.
    """
    for attempt in range(1, TRIES + 1):
        with tenant_context(reading.tenant_id, durable=True):
            quoted = quote(reading, found)
        if quoted.needed + quoted.growth > quoted.left and time.monotonic() - counted_at > 1.0:
            # It is a near thing: what was found a page ago does not do.
            found, counted_at = count(reading, stop), time.monotonic()
            with tenant_context(reading.tenant_id, durable=True):
                quoted = quote(reading, found)
        mark = f"{sweep.pages}:{sweep.next_skip}:{attempt}"
        call_id = reserve(reading, quoted, mark=mark)
        hit("pulls.after_reserve")
        got = _ask(reading, call_id, sweep.next_skip)
        if got is not None:
            answer, page = got
            hit("pulls.after_answer")
            return _settled(reading, sweep, call_id, answer, page), page.results_found, counted_at
        if attempt < TRIES and stop.wait(PAUSE_S * 2 ** (attempt - 1)):
            break
    raise Pause("failed", "The vendor did not answer, however often we asked.", soon())


def _ask(reading: Reading, call_id: str, skip: int) -> tuple[Answer, SearchPage] | None:
    """Make a paid request; None when it failed for certain and can be made again.

    Raises:
        Pause: it makes no sense to ask again now.
    """
    try:
        answer, page = _search(reading, skip, reading.page_size)
    except NotWritten as error:
        lost = Settlement(result="failed", was_made=False, error=str(error))
        settle_unmade(reading, call_id, lost)
        return None
    except NoAnswer as error:
        settle_unmade(reading, call_id, Settlement(result="unknown", error=str(error)))
        raise _unknown(str(error)) from error
    if page.kind == "ok":
        return answer, page
    result = {"ambiguous": "unknown", "failed": "failed"}.get(page.kind, "refused")
    wait = page.retry_after_s or 30.0
    settle_unmade(
        reading,
        call_id,
        Settlement(
            result=result,  # type: ignore[arg-type]  # a Literal in a dict
            error=page.error,
            throttled_s=wait if page.kind == "throttled" else None,
            trips=page.kind == "balance",
        ),
        answer=answer,
    )
    if page.kind == "failed":
        return None
    raise _refusal(page, wait)


def _unknown(words: str) -> Pause:
    return Pause(
        "unknown",
        f"The vendor may have billed a request it did not answer ({words[:60]})."
        " Resume to ask again: on the same day that costs nothing twice.",
    )


def _refusal(page: SearchPage, wait: float) -> Pause:
    match page.kind:
        case "throttled":
            until = database_now() + timedelta(seconds=wait)
            return Pause("busy", f"The vendor asked us to wait for {wait:.0f} s.", until)
        case "balance":
            return Pause("balance", page.error or "The account has no balance.")
        case "ambiguous":
            return _unknown(page.error)
    return Pause("refused", page.error or "The vendor refused the request.")


def _search(reading: Reading, skip: int, take_n: int) -> tuple[Answer, SearchPage]:
    search = reading.search
    try:
        request = search.build_search(reading.params, skip, take_n, reading.account)
    except ValueError as error:
        raise Pause("refused", str(error)) from error
    answer = call(request, deadline_s=CALL_S, max_answer=search.max_answer)
    return answer, search.read_search(answer.status, answer.headers, answer.body)


def count(reading: Reading, stop: threading.Event | None = None) -> int:
    """Ask how many records the query has, which costs nothing and lists nothing.

    Raises:
        Pause: the vendor does not say.
    """
    words = ""
    for attempt in range(1, TRIES + 1):
        wait = PAUSE_S * 2 ** (attempt - 1)
        try:
            _, page = _search(reading, 0, 0)
        except (NotWritten, NoAnswer) as error:
            words = str(error)
        else:
            if page.kind == "ok":
                return page.results_found
            words = page.error
            wait = max(wait, page.retry_after_s or 0.0)
            is_busy = page.kind == "throttled" and (wait > LONGEST_WAIT_S or attempt == TRIES)
            if is_busy or page.kind in ("balance", "refused"):
                raise _refusal(page, wait)
        if attempt < TRIES and (stop or threading.Event()).wait(wait):
            break
    raise Pause("failed", f"The vendor did not say how many there are: {words[:100]}", soon())


def _settled(
    reading: Reading, sweep: PullSweep, call_id: str, answer: Answer, page: SearchPage
) -> Bought:
    """Keep an answer and settle its cost, in one commit: what was paid for is not lost."""
    with tenant_context(reading.tenant_id, durable=True):
        artifact = keep(answer.body, artifact_type="vendor_page", run_id=reading.run_id)
        cost = settle_page(reading, call_id, answer, page.results_found, artifact_id=artifact.pk)
    hit("pulls.after_settle")
    return Bought(
        call_id=call_id,
        artifact_id=artifact.pk,
        skip=sweep.next_skip,
        page=page,
        cost_cents=cost,
    )
