"""The live stream: server-sent events with hints, one per browser.

Runs in the event loop. It holds a database connection only while it looks somebody up.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from asgiref.sync import SyncToAsync, sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_GET

from messaging.live import CatchUp, Event, Stream, catch_up, hub, reset
from messaging.views.poll import number
from tenants.models import Membership, memberships_of
from tenants.permissions import GRANTS
from tenants.ulids import to_uuid

#: Seconds between signs of life; proxies close what is silent for a minute.
HEARTBEAT = 20.0
#: Seconds after which a stream looks whether its person is still logged in and a member.
RECHECK = 60.0
#: Seconds after which the browser has to come again.
LIFETIME = 30 * 60.0
#: Seconds a new stream waits for the process to follow the table.
PATIENCE = 5.0

HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "Content-Encoding": "identity",  # compression would hold events back
}
_HEARTBEAT_FRAME = ": hb\nevent: hb\ndata: 1\n\n"


@require_GET
async def stream(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Stream the hints of tenant *slug* from the cursor ``after`` or ``Last-Event-ID`` on.

    204, which an EventSource takes for "never again", where no stream is to be had: logged out,
    no member, or a server without an event loop. The poll says which.
    """
    if not isinstance(request, ASGIRequest):
        return HttpResponse(status=204)
    user = await request.auser()
    try:
        membership = await _membership(user.pk, slug) if user.is_authenticated else None
    finally:
        await _release()
    if membership is None:
        return HttpResponse(status=204)
    after = max(number(request.GET.get("after")), number(request.headers.get("Last-Event-ID")))
    frames = _frames(request, membership, after)
    return StreamingHttpResponse(frames, content_type="text/event-stream", headers=HEADERS)


async def _frames(request: HttpRequest, membership: Membership, after: int) -> AsyncIterator[str]:
    """Write the stream; whoever stops reading it closes it."""
    yield "retry: 2000\n\n"
    source = hub().open(to_uuid(membership.tenant_id), to_uuid(membership.actor_id))
    try:
        # Following comes first: what is committed between the two is then seen twice, not never.
        await asyncio.wait_for(hub().ready.wait(), PATIENCE)
        missed = await _missed(membership, after)
        if missed.reset:
            yield _frame(reset(source.tenant_id, missed.cursor))
        yield "".join(_frame(event) for event in missed.events)
        async for text in _news(request, membership, source):
            yield text
    except TimeoutError:
        return
    finally:
        hub().close(source)


async def _news(request: HttpRequest, membership: Membership, source: Stream) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    end, check = loop.time() + LIFETIME, loop.time() + RECHECK
    while loop.time() < end:
        events = await source.get(HEARTBEAT)
        if source.ended:
            return
        yield "".join(map(_frame, events)) or _HEARTBEAT_FRAME
        if loop.time() >= check:
            if not await _still_allowed(request, membership):
                return
            check = loop.time() + RECHECK


def _frame(event: Event) -> str:
    data = json.dumps(event.hint(), separators=(",", ":"))
    return f"id: {event.seq}\nevent: hint\ndata: {data}\n\n"


async def _membership(user_id: int, slug: str) -> Membership | None:
    mine = await sync_to_async(memberships_of)(user_id)
    found = next((membership for membership in mine if membership.slug == slug), None)
    return found if found and "view" in GRANTS.get(found.role, ()) else None


async def _missed(membership: Membership, after: int) -> CatchUp:
    try:
        return await sync_to_async(catch_up)(membership.tenant_id, membership.actor_id, after)
    finally:
        await _release()


async def _still_allowed(request: HttpRequest, membership: Membership) -> bool:
    """Look again: people log out and leave teams while their streams stay open."""
    session = request.session
    try:
        if not session.session_key or not await session.aexists(session.session_key):
            return False
        user = await request.auser()
        return await _membership(user.pk or 0, membership.slug) == membership
    finally:
        await _release()


async def _release() -> None:
    """Give the database connection back, and the thread it was used in.

    Django keeps a thread for each request until its answer ends. That of a stream ends in half an
    hour: a thousand of them would be a thousand threads. The next look-up gets a new one.
    """
    await sync_to_async(connections.close_all)()
    context = SyncToAsync.thread_sensitive_context.get(None)
    threads = SyncToAsync.context_to_thread_executor
    if context is not None and (executor := threads.pop(context, None)):
        executor.shutdown(wait=False)
