"""Writes to what a custom webhook means: its field mappings, and how its events are told apart.

Every save has a number, which settings keep as ``mapping_version``: a page that was opened before
somebody else saved is refused. What rows were before and after is in the audit log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connection, transaction

from integrations.endpoints import config_of, forget
from integrations.mapping import BadMapping, Row, check_row, read_path
from integrations.models import FieldMapping, Integration
from integrations.modules import MODULES
from tenants.actions import note, remove_record, save_record
from tenants.ulids import to_uuid

VERSION = "mapping_version"
MAX_EVENTS = 100
MAX_NAME = 200
MAX_DEFAULT = 200


class MappingRefused(Exception):
    """Nothing was saved; ``problems`` says why, by target or by setting."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{place}: {words}" for place, words in problems.items()))
        self.problems = dict(problems)


class MappingMoved(Exception):
    """Somebody else saved meanwhile; nothing was written."""


def settings_of(integration: Integration) -> dict[str, Any]:
    """Return the settings, of which somebody may have made no object at all."""
    return integration.settings if isinstance(integration.settings, dict) else {}


def version_of(integration: Integration) -> int:
    """Return how often the mapping of *integration* was saved."""
    version = settings_of(integration).get(VERSION, 0)
    return version if isinstance(version, int) else 0


def config_for(integration: Integration) -> dict[str, Any]:
    """Return what the provider of *integration* is configured with, as intake reads it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT settings, mappings_of(tenant_id, id) FROM integrations"
            " WHERE tenant_id = %s AND id = %s",
            [to_uuid(integration.tenant_id), to_uuid(integration.pk)],
        )
        row = cursor.fetchone()
    return config_of(*row) if row else {"mappings": []}


def rows_of(integration: Integration, module: str) -> list[Row]:
    """Return the stored rows of one kind of event, in order."""
    rows = FieldMapping.objects.filter(integration=integration, module=module)
    return [_row(mapping) for mapping in rows.order_by("position", "id")]


def check_rows(module: str, rows: Sequence[Row]) -> dict[str, str]:
    """Return what is wrong with *rows*, by target; nothing when they can be saved."""
    problems: dict[str, str] = {}
    for row in rows:
        target = MODULES[module].target(row.target)
        try:
            if target is None:
                raise BadMapping("This event has no such target.")
            if len(row.default) > MAX_DEFAULT:
                raise BadMapping(f"A default has at most {MAX_DEFAULT} characters.")
            check_row(row, target.read)
        except BadMapping as error:
            problems[row.target] = str(error)
    names = [row.target for row in rows]
    for name in {name for name in names if names.count(name) > 1}:
        problems[name] = "This target has two rows."
    return problems


@transaction.atomic
def save_mappings(
    integration_id: str,
    *,
    module: str,
    rows: Sequence[Row],
    base: int,
    actor_id: str | None,
) -> int:
    """Make *rows* the whole mapping of one kind of event; return the new version.

    Args:
        integration_id: of the running tenant.
        module: a key of ``MODULES``.
        rows: in order; rows of other targets are removed.
        base: the version the person saw.
        actor_id: who did it.

    Raises:
        MappingRefused: a row can never give a value, or two fill one target.
        MappingMoved: *base* is not the newest version.
    """
    if problems := check_rows(module, rows):
        raise MappingRefused(problems)
    integration = _locked(integration_id, base)
    before = rows_of(integration, module)
    if before == list(rows):
        return base
    stored = FieldMapping.objects.filter(integration=integration, module=module)
    stored.exclude(target_field__in=[row.target for row in rows]).delete()
    for position, row in enumerate(rows):
        FieldMapping.objects.update_or_create(
            integration=integration,
            module=module,
            target_field=row.target,
            defaults={
                "position": position,
                "source_path": row.source,
                "transform": row.transform,
                "default": row.default,
                "required": row.required,
            },
        )
    return _saved(
        integration,
        "mapping.saved",
        actor_id=actor_id,
        before={"module": module, "rows": [vars(row) for row in before]},
        after={"module": module, "rows": [vars(row) for row in rows]},
    )


@transaction.atomic
def save_reading(
    integration_id: str,
    *,
    event_path: str,
    events: Mapping[str, str],
    default_event: str,
    id_path: str,
    base: int,
    actor_id: str | None,
) -> int:
    """Say how events of a custom webhook are told apart; return the new version.

    Args:
        integration_id: of the running tenant.
        event_path: where the event's name stands; empty: nowhere.
        events: their name → kind of event.
        default_event: kind of an event without a name; empty: none.
        id_path: where an id of the delivery stands; empty: nowhere.
        base: the version the person saw.
        actor_id: who did it.

    Raises:
        MappingRefused: a path is none, a kind is unknown, or names are given and no place of them.
        MappingMoved: *base* is not the newest version.
    """
    after = {
        "event_path": event_path.strip(),
        "events": {name.strip(): kind for name, kind in events.items()},
        "default_event": default_event,
        "id_path": id_path.strip(),
    }
    if problems := _reading_problems(after):
        raise MappingRefused(problems)
    integration = _locked(integration_id, base)
    before = {name: settings_of(integration).get(name) for name in after}
    if before == after:
        return base
    integration.settings = {**settings_of(integration), **after}
    return _saved(integration, "reading.saved", actor_id=actor_id, before=before, after=after)


def _reading_problems(settings: Mapping[str, Any]) -> dict[str, str]:
    problems: dict[str, str] = {}
    for name in ("event_path", "id_path"):
        try:
            if settings[name]:
                read_path(settings[name])
        except BadMapping as error:
            problems[name] = str(error)
    if words := _names_problem(settings["events"]):
        problems["events"] = words
    elif settings["events"] and not settings["event_path"]:
        problems["event_path"] = "Say where the event's name stands, or remove the names."
    if settings["default_event"] not in ("", *MODULES):
        problems["default_event"] = "Choose a kind of event from the list."
    return problems


def _names_problem(events: Mapping[str, str]) -> str:
    if not all(0 < len(name) <= MAX_NAME for name in events):
        return f"A name has 1 to {MAX_NAME} characters."
    if len(events) > MAX_EVENTS:
        return f"At most {MAX_EVENTS} names."
    if not set(events.values()) <= set(MODULES):
        return "Choose a kind of event from the list."
    return ""


def _locked(integration_id: str, base: int) -> Integration:
    integration = _lock(integration_id)
    if version_of(integration) != base:
        raise MappingMoved
    return integration


def _saved(
    integration: Integration,
    action: str,
    *,
    actor_id: str | None,
    before: dict[str, Any],
    after: dict[str, Any],
) -> int:
    version = _count(integration)
    note(
        action,
        actor_id=actor_id,
        subject=integration,
        before=before,
        after={**after, "version": version},
    )
    return version


def _row(mapping: FieldMapping) -> Row:
    return Row(
        target=mapping.target_field,
        source=mapping.source_path,
        transform=mapping.transform,
        default=mapping.default,
        required=mapping.required,
    )


@transaction.atomic
def save_row(
    mapping: FieldMapping, *, fields: Iterable[str], actor_id: str | None, is_new: bool
) -> None:
    """Save the named fields of one row, as a new version of its mapping.

    Raises:
        MappingRefused: the row can never give a value.
    """
    if problems := check_rows(mapping.module, [_row(mapping)]):
        raise MappingRefused(problems)
    save_record(mapping, fields=fields, actor_id=actor_id, is_new=is_new)
    _count(_lock(mapping.integration_id))


@transaction.atomic
def remove_row(mapping: FieldMapping, *, actor_id: str | None) -> None:
    """Remove one row, as a new version of its mapping."""
    remove_record(mapping, actor_id=actor_id)
    _count(_lock(mapping.integration_id))


def _count(integration: Integration) -> int:
    """Save the settings of *integration*, which is locked, with the next version."""
    version = version_of(integration) + 1
    integration.settings = {**settings_of(integration), VERSION: version}
    integration.save(update_fields=["settings"])
    transaction.on_commit(forget)  # this process sees it at once, others within a second
    return version


def _lock(integration_id: str) -> Integration:
    return Integration.objects.select_for_update(no_key=True).get(pk=integration_id)
