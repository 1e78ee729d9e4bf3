"""Pages of a tenant, under ``/t/<slug>/``; an address ending in ``part/`` answers a fragment."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpResponse
from django.urls import URLPattern, path

from messaging.views import (
    account,
    actions,
    bell,
    home,
    hosts,
    inbox,
    incidents,
    integrations,
    leads,
    mappings,
    numbers,
    optouts,
    reply,
    texting,
    thread,
    unknowns,
)
from messaging.views.poll import poll

app_name = "messaging"


def _both(verb: str, view: Callable[..., HttpResponse]) -> list[URLPattern]:
    """Return the two addresses of an action on a conversation."""
    return [
        path(f"c/<str:conv>/{verb}/", view, name=verb),
        path(f"c/<str:conv>/{verb}/part/", view, {"part": True}, name=f"{verb}-part"),
    ]


urlpatterns = [
    path("", home.home, name="home"),
    path("counters/", home.counters, name="counters"),
    path("go/<str:anything>/", home.go, name="go"),
    path("inbox/<slug:stage>/", inbox.inbox, name="inbox"),
    path("inbox/<slug:stage>/rows/", inbox.rows, name="inbox-rows"),
    path("inbox/<slug:stage>/changes/", inbox.changes, name="changes"),
    path("inbox/<slug:stage>/c/<str:conv>/", inbox.thread_page, name="thread-page"),
    path("c/<str:conv>/thread/", thread.thread, name="thread"),
    path("c/<str:conv>/since/<str:message>/", thread.since, name="since"),
    path("c/<str:conv>/older/", thread.older, name="older"),
    path("c/<str:conv>/draft/", actions.draft, name="draft"),
    *_both("reply", reply.reply),
    *_both("suppress", reply.suppress),
    *_both("consent", reply.consent),
    *_both("seen", actions.seen),
    *_both("unread", actions.unread),
    *_both("claim", actions.claim),
    *_both("release", actions.release),
    *_both("done", actions.done),
    *_both("snooze", actions.snooze),
    *_both("reopen", actions.reopen),
    *_both("undo", actions.undo),
    *_both("assign", actions.assign),
    *_both("state", actions.state),
    *_both("stage", actions.stage),
    path("bell/<slug:stage>/", bell.panel, name="bell-panel"),
    path("bell/<slug:stage>/read/", bell.read, name="bell-read"),
    path("bell/<slug:stage>/mute/", bell.mute, name="bell-mute"),
    path("poll/", poll, name="poll"),
    path("leads/", leads.index, name="leads"),
    path("leads/<str:lead_id>/", leads.lead, name="lead"),
    path("leads/<str:lead_id>/state/", leads.state, name="lead-state"),
    path("leads/<str:lead_id>/text/", texting.text, name="lead-text"),
    path("optouts/", optouts.index, name="optouts"),
    path("optouts/add/", optouts.add, name="optout-add"),
    path("optouts/<str:address>/", optouts.optout, name="optout"),
    path("optouts/<str:address>/decide/", optouts.decide, name="optout-decide"),
    path("hosts/", hosts.hosts, name="hosts"),
    path("hosts/<uuid:host>/retire/", hosts.retire, name="host-retire"),
    path("incidents/", incidents.incidents, name="incidents"),
    path("incidents/part/", incidents.part, name="incidents-part"),
    path("numbers/", numbers.index, name="numbers"),
    path("numbers/<str:phone_number>/", numbers.number, name="number"),
    path("numbers/<str:phone_number>/rest/", numbers.rest, name="number-rest"),
    path("numbers/<str:phone_number>/wake/", numbers.wake, name="number-wake"),
    path("sends/unknown/", unknowns.index, name="unknowns"),
    path("sends/unknown/<str:outbound>/decide/", unknowns.decide, name="unknown-decide"),
    path("account/", account.account, name="account"),
    path("account/notifications/", account.notifications, name="notifications"),
    path("account/theme/", account.theme, name="theme"),
    path("account/shortcuts/", account.shortcuts, name="shortcuts"),
    path("integrations/", integrations.index, name="integrations"),
    path("integrations/<str:integration>/", integrations.detail, name="integration"),
    path("integrations/<str:integration>/secret/", integrations.rotate, name="secret"),
    path("integrations/<str:integration>/secret/drop/", integrations.drop, name="secret-drop"),
    path("integrations/<str:integration>/urls/", integrations.make_url, name="endpoint-make"),
    path(
        "integrations/<str:integration>/urls/<str:endpoint>/retire/",
        integrations.retire_url,
        name="endpoint-retire",
    ),
    path("integrations/<str:integration>/silence/", integrations.watch, name="silence"),
    path("integrations/<str:integration>/test/", integrations.send_test, name="test-event"),
    path("integrations/<str:integration>/mapping/", mappings.editor, name="mapping"),
    path("integrations/<str:integration>/mapping/save/", mappings.save, name="mapping-save"),
    path("integrations/<str:integration>/mapping/names/", mappings.save_names, name="names-save"),
    path("integrations/<str:integration>/mapping/preview/", mappings.preview, name="preview"),
    path(
        "integrations/<str:integration>/mapping/preview/part/",
        mappings.preview,
        {"part": True},
        name="preview-part",
    ),
]
