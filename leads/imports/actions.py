"""Everything a person, a command or an API call does to an import.

A file is begun (stored and looked at), mapped, checked, confirmed; the worker does the long parts
(``leads.imports.work``) and every one of them can be stopped, gone on with, and undone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

from django.db import transaction
from django.db.models.functions import Now
from django_q.tasks import async_task

from leads.identity.stage import NoStage, Stage
from leads.imports import presets
from leads.imports.columns import Column, suggest
from leads.imports.parts import keep, open_parts
from leads.imports.reading import UnreadableFile, layout_of
from leads.imports.transforms import BadMapping, check_mapping, targets_of_problem
from leads.models import Import, ImportPart, ImportRow
from pipelines.actions import begin_run, end_run
from pipelines.models import PipelineRun
from tenants.actions import note
from tenants.context import current_tenant_id
from tenants.models import Actor

PIPELINE, UNDO_PIPELINE = "import", "import undo"
#: Task that works on imports; the schedule starts it for those whose worker died.
TASK = "leads.tasks.work_on_import"
#: States in which a worker is, or should be, at it.
ACTIVE = ("checking", "importing", "undoing")
#: What a file, and a label, may be called; and a source.
NAME, LABEL = 200, 60
SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class ImportRefused(Exception):
    """The import is not in a state for this, or not as asked; nothing was written."""


@transaction.atomic
def begin(
    stream: BinaryIO, *, name: str, source: str = "upload", actor_id: str | None = None
) -> Import:
    """Store a file and find out how it is written and what its columns are; no lead is touched.

    Args:
        stream: the file, at its beginning; it must be able to go back there.
        name: of the file.
        source: who says what is in it, which decides whose values win; ``upload`` by default.
        actor_id: ``actor_…`` who brings it.

    Returns:
        The import, ``uploaded``, with a suggested mapping.

    Raises:
        UnreadableFile: it is no table; the text says at which line and byte.
        ImportRefused: the source is no name.
    """
    clean = "".join(char for char in name if char.isprintable()).strip()
    made = Import.objects.create(
        name=clean[-NAME:] or "file.csv",
        source=_source(source),
        actor_id=actor_id,
    )
    kept = keep(made.pk, stream)
    layout, samples = layout_of(open_parts(made.pk), kept.encoding)
    if not samples:
        raise UnreadableFile("The file has a header and no rows.")
    columns, preset, preset_name = presets.known(layout.header)
    made.size, made.checksum, made.encoding = kept.size, kept.checksum, kept.encoding
    made.delimiter, made.header, made.samples = layout.delimiter, list(layout.header), samples[:20]
    made.mapping = [one.as_json() for one in columns or suggest(layout.header, samples)]
    made.options = {
        "has_header": layout.has_header,
        "skip": layout.skip,
        "preset": preset_name,
        "fixes": preset.options.get("fixes", []) if preset else [],
    }
    made.preset, made.state = preset, "uploaded"
    made.save()
    note("import.begun", actor_id=actor_id, subject=made, after={"name": made.name})
    return made


def _source(name: str) -> str:
    clean = name.strip().lower()
    if not SOURCE_NAME.fullmatch(clean):
        raise ImportRefused("A source is named in letters, digits and underscores.")
    return clean


def same_file(one: Import) -> Import | None:
    """Return the newest import of the very same file that was carried out before, if any."""
    rows = Import.objects.filter(checksum=one.checksum, state="imported").exclude(pk=one.pk)
    return rows.order_by("-id").first()


def columns_of(one: Import) -> list[Column]:
    """Return the mapping of an import, one column per column of the file."""
    return [Column(**column) for column in one.mapping]


def fixes_of(one: Import) -> frozenset[str]:
    """Return the targets whose unreadable values are dropped, and the row kept."""
    return frozenset(one.options.get("fixes", []))


def _lock(import_id: str, *states: str) -> Import:
    found = Import.objects.select_for_update(no_key=True).get(pk=import_id)
    if found.state not in states:
        raise ImportRefused(f"This import is “{found.get_state_display().lower()}”.")
    return found


@transaction.atomic
def set_mapping(
    import_id: str,
    *,
    columns: Sequence[Column],
    source: str = "",
    preset_name: str = "",
    actor_id: str | None = None,
) -> Import:
    """Say what the columns are; kept for the next file with this header.

    Args:
        import_id: ``import_…``.
        columns: one per column of the file, in its order.
        source: whose word the file is; empty: as it was.
        preset_name: how people call it; the file's name by default.
        actor_id: ``actor_…`` who says so.

    Raises:
        ImportRefused: it is checked, imported or gone already, or the columns are not the file's.
        BadMapping: the columns cannot be read this way.
    """
    found = _lock(import_id, "uploaded", "checked")
    if [one.header for one in columns] != found.header:
        raise ImportRefused("These are not the columns of the file. Load the page again.")
    found.source = _source(source) if source else found.source
    check_mapping(columns)
    found.mapping = [one.as_json() for one in columns]
    found.state = "uploaded"
    found.preset = presets.remember(
        found.header, columns, fixes=sorted(fixes_of(found)), name=preset_name or found.name
    )
    _forget_check(found)
    _save(found, "mapping", "preset", "source", *CHECKED)
    return found


#: What a check finds out.
CHECKED = (
    "created", "updated", "unchanged", "duplicates", "blocked", "errors", "reviews",
    "matched_by", "warnings", "warnings_accepted_by",
)  # fmt: skip


def _forget_check(found: Import) -> None:
    for field in CHECKED[:7]:
        setattr(found, field, 0)
    found.matched_by, found.warnings, found.warnings_accepted_by = {}, [], None


def _save(found: Import, *fields: str) -> None:
    found.updated_at = Now()
    found.save(update_fields=["state", "updated_at", *fields])


@transaction.atomic
def check(import_id: str, *, actor_id: str | None = None) -> Import:
    """Begin to find out what the file would do; the worker does it, and writes no lead.

    Raises:
        ImportRefused: it is on its way, imported, or gone.
        BadMapping: the columns cannot be read.
    """
    found = _lock(import_id, "uploaded", "checked")
    check_mapping(columns_of(found))
    if found.run is None:
        found.run = begin_run(PIPELINE, trigger="manual")
        found.step = "copy"
    else:
        _reopen(found.run.pk)
        found.step = "copy" if found.step in ("", "copy") else "read"
    found.state, found.lease_until = "checking", None
    if found.step == "copy":
        found.done = 0
    _forget_check(found)
    _save(found, "run", "step", "done", "lease_until", *CHECKED)
    _start(found)
    return found


@transaction.atomic
def drop_values(import_id: str, *, problems: Sequence[str], actor_id: str | None = None) -> Import:
    """Keep rows that had one of these *problems*, without the value it is about, and check again.

    Raises:
        ImportRefused: it is not checked, or a problem is none of a value.
    """
    found = _lock(import_id, "checked")
    columns = columns_of(found)
    targets = [target for problem in problems for target in targets_of_problem(problem, columns)]
    if not targets:
        raise ImportRefused("Rows with this problem cannot be kept: mend the file.")
    fixes = sorted({*fixes_of(found), *targets})
    found.options = {**found.options, "fixes": fixes}
    found.save(update_fields=["options"])
    name = found.options.get("preset", "") or found.name
    presets.remember(found.header, columns, fixes=fixes, name=name)
    return check(import_id, actor_id=actor_id)


@transaction.atomic
def accept_warnings(import_id: str, *, actor_id: str | None) -> Import:
    """Note that a person read what is suspicious about the list and wants it all the same.

    Raises:
        ImportRefused: it is not checked.
    """
    found = _lock(import_id, "checked")
    found.warnings_accepted_by = Actor.objects.filter(pk=actor_id).first()
    found.options = {**found.options, "accepted": [one["key"] for one in found.warnings]}
    _save(found, "warnings_accepted_by", "options")
    note(
        "import.warnings_accepted",
        actor_id=actor_id,
        subject=found,
        after={"warnings": [one["text"] for one in found.warnings]},
    )
    return found


def warnings_open(one: Import) -> bool:
    """Tell whether somebody must still accept what is suspicious about the list."""
    accepted = set(one.options.get("accepted", []))
    return any(warning["key"] not in accepted for warning in one.warnings)


@transaction.atomic
def confirm(
    import_id: str, *, label: str = "", enrich: bool = False, actor_id: str | None = None
) -> Import:
    """Begin to write the leads of a checked file; the worker does it, chunk by chunk.

    Args:
        import_id: ``import_…``.
        label: a tag for all of its leads; empty: none.
        enrich: whether its leads are to be enriched when they are there.
        actor_id: ``actor_…`` who confirms.

    Raises:
        ImportRefused: it is not checked, its warnings are not accepted, or it has nothing to write.
    """
    found = _lock(import_id, "checked")
    if warnings_open(found):
        raise ImportRefused("Read the warnings about this list, and accept them first.")
    if not writes(found):
        raise ImportRefused("No row of this file can be written.")
    found.state, found.step, found.done, found.lease_until = "importing", "match", 0, None
    found.confirmed_at = Now()
    found.options = {
        **found.options,
        "label": " ".join(label.split())[:LABEL],
        "enrich": enrich,
    }
    _save(found, "step", "done", "lease_until", "confirmed_at", "options")
    _reopen(found.run_id)
    note("import.confirmed", actor_id=actor_id, subject=found, after=figures(found))
    _start(found)
    return found


def writes(one: Import) -> int:
    """Return how many rows a confirmed import writes, or finds as they are."""
    return one.created + one.updated + one.unchanged + one.blocked


def figures(one: Import) -> dict[str, Any]:
    """Return the counts of an import, for a run's stats and the audit log."""
    names = ("total", "done", *CHECKED[:8], "undone", "kept")
    return {"import": one.pk, "step": one.step, **{name: getattr(one, name) for name in names}}


@transaction.atomic
def cancel(import_id: str, *, actor_id: str | None = None) -> Import:
    """Stop what the worker does; what is written stays, the rest can go on later.

    Raises:
        ImportRefused: nothing is going on.
    """
    found = _lock(import_id, "checking", "importing")
    found.state = "uploaded" if found.state == "checking" else "paused"
    found.lease_until = None
    _save(found, "lease_until")
    if found.run is not None:
        end_run(found.run.pk, status="cancelled", stats=figures(found))
    note("import.cancelled", actor_id=actor_id, subject=found, after=figures(found))
    return found


@transaction.atomic
def resume(import_id: str, *, actor_id: str | None = None) -> Import:
    """Go on with an import that was stopped, or that failed after it was confirmed.

    Raises:
        ImportRefused: it is neither.
    """
    found = _lock(import_id, "paused", "failed")
    if found.confirmed_at is None:
        raise ImportRefused("This file could not be read. Mend it and import it again.")
    found.state, found.error, found.lease_until = "importing", "", None
    _save(found, "error", "lease_until")
    _reopen(found.run_id)
    note("import.resumed", actor_id=actor_id, subject=found)
    _start(found)
    return found


@transaction.atomic
def undo(import_id: str, *, reason: str, actor_id: str | None = None) -> Import:
    """Begin to take an import back: leads nobody touched since go, changed fields are put back.

    What somebody worked with, wrote to or edited since stays, and is listed as kept.

    Raises:
        ImportRefused: no reason was given, or nothing of it is written.
    """
    if not reason.strip():
        raise ImportRefused("Say why the import is taken back.")
    found = _lock(import_id, "imported", "paused")
    found.state, found.step, found.done, found.lease_until = "undoing", "created", 0, None
    found.undone = found.kept = 0
    found.undo_run = begin_run(UNDO_PIPELINE, trigger="manual")
    found.options = {**found.options, "undo_reason": reason.strip()[:500]}
    _save(found, "step", "done", "lease_until", "undone", "kept", "undo_run", "options")
    ImportRow.objects.filter(imported=found, outcome="kept").delete()
    note("import.undone", actor_id=actor_id, subject=found, reason=reason.strip())
    _start(found)
    return found


@transaction.atomic
def discard(import_id: str, *, actor_id: str | None = None) -> Import:
    """Throw a file away of which nothing was written; only its name and figures stay.

    Raises:
        ImportRefused: something of it was written, or is being.
    """
    found = _lock(import_id, "uploading", "uploaded", "checked", "failed")
    if found.confirmed_at is not None:
        raise ImportRefused("Something of this file was written: undo it instead.")
    found.state, found.error, found.samples = "discarded", "", []
    _save(found, "error", "samples")
    ImportPart.objects.filter(imported=found).delete()
    ImportRow.objects.filter(imported=found).delete()
    with suppress(NoStage):
        Stage.open(found.run_id or "", tenant_id=found.tenant_id).drop()
    note("import.discarded", actor_id=actor_id, subject=found)
    return found


def _reopen(run_id: str | None) -> None:
    PipelineRun.objects.filter(pk=run_id).update(status="running", finished_at=None, error="")


def _start(found: Import) -> None:
    tenant_id = current_tenant_id()
    transaction.on_commit(partial(async_task, TASK, tenant_id, found.pk))


__all__ = [
    "ACTIVE", "BadMapping", "ImportRefused", "UnreadableFile", "accept_warnings", "begin", "cancel",
    "check", "columns_of", "confirm", "discard", "drop_values", "figures", "fixes_of", "resume",
    "same_file", "set_mapping", "targets_of_problem", "undo", "warnings_open", "writes",
]  # fmt: skip
