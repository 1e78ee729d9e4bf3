"""Lists that people keep: a filter of the leads list under a name."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from leads.actions_leads import EditRefused
from leads.models import SavedView
from tenants.actions import note
from tenants.models import Actor


@transaction.atomic
def save_view(
    *, name: str, query: Mapping[str, list[str]], shared: bool, actor: Actor
) -> SavedView:
    """Keep a filter of the list under a name, for oneself or everybody; the same name replaces it.

    Raises:
        EditRefused: no name.
    """
    name = " ".join(name.split())[:60]
    if not name:
        raise EditRefused("Give the list a name.")
    kept = {key: list(values) for key, values in query.items() if any(values)}
    owner = None if shared else actor
    view = SavedView.objects.select_for_update().filter(name=name, actor=owner).first()
    before = view.query if view else None
    if view is None:
        view = SavedView.objects.create(name=name, actor=owner, query=kept)
    else:
        view.query = kept
        view.save(update_fields=["query"])
    after = {"name": name, "shared": shared, "query": kept}
    note("savedview.saved", actor_id=actor.pk, subject=view, before=before, after=after)
    return view


@transaction.atomic
def rename_view(view: SavedView, *, name: str, actor: Actor) -> SavedView:
    """Give a saved list another name.

    Raises:
        EditRefused: no name, or one that another list of the same owner has.
    """
    name = " ".join(name.split())[:60]
    if not name:
        raise EditRefused("Give the list a name.")
    same = SavedView.objects.filter(name=name, actor_id=view.actor_id).exclude(pk=view.pk)
    if same.exists():
        raise EditRefused("There is a list of this name.")
    before = {"name": view.name}
    view.name = name
    view.save(update_fields=["name"])
    note("savedview.renamed", actor_id=actor.pk, subject=view, before=before, after={"name": name})
    return view


@transaction.atomic
def delete_view(view: SavedView, *, actor: Actor) -> None:
    """Forget a saved list; the leads in it stay."""
    before = {"name": view.name, "query": view.query}
    note("savedview.deleted", actor_id=actor.pk, subject=view, before=before)
    view.delete()
