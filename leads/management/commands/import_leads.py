"""`manage.py import_leads`: a file of leads of any size, with the actions of the pages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from leads.imports import actions, presets
from leads.imports.actions import BadMapping, ImportRefused, UnreadableFile
from leads.imports.columns import Column
from leads.imports.presets import NoPreset
from leads.imports.rejects import reject_file
from leads.imports.transforms import targets_of_problem
from leads.imports.work import work
from leads.models import Import, ImportRow
from tenants.context import tenant_context
from tenants.models import Tenant

#: Exit codes beside 0 and Django's 1: some rows were rejected; a person must look first.
REJECTED, MUST_LOOK = 3, 4
#: Connections that write at once; seconds of work between two lines of progress.
CONNECTIONS, SLICE_S = 2, 2.0
#: Seconds between two looks while another process works on the same import.
WAIT_S = 1.0


class Command(BaseCommand):
    """The wizard for files of any size; a run that was killed goes on when it is called again."""

    help = (
        "Import a CSV file of leads. Exit codes: 0 done, 1 refused, 3 done with rejected rows,"
        " 4 there are warnings or nothing was confirmed: say --yes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, nargs="?")
        parser.add_argument("--tenant", required=True, help="slug of the tenant")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--preset", default="", help="name of a mapping, such as PropStream")
        how.add_argument(
            "--map",
            nargs="+",
            default=[],
            metavar="COLUMN=FIELD",
            help="what single columns are; =FIELD:mobile, :landline, :list, :name or :plain says"
            " how they are read; nothing behind the = leaves a column out",
        )
        parser.add_argument("--source", default="upload", help="whose word the file is")
        parser.add_argument("--label", default="", help="a tag for all of its leads")
        parser.add_argument(
            "--drop-bad-values",
            action="store_true",
            help="keep rows with a value that cannot be read, without the value",
        )
        parser.add_argument("--check", action="store_true", help="only say what it would do")
        parser.add_argument(
            "--yes", action="store_true", help="import without asking, warnings included"
        )
        parser.add_argument("--rejects", type=Path, help="write rejected rows to this file")
        parser.add_argument("--undo", default="", metavar="IMPORT_ID", help="take one back")
        parser.add_argument("--reason", default="", help="why it is taken back")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.tenant = Tenant.objects.get(slug=options["tenant"])
        except Tenant.DoesNotExist as error:
            raise CommandError(f"There is no tenant {options['tenant']}.") from error
        # Whole files are read and matched in single statements.
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        try:
            if options["undo"]:
                self._undo(options)
            elif options["file"] is None:
                raise CommandError("Name a file, or an import to --undo.")
            else:
                self._import(options)
        except (ImportRefused, UnreadableFile, BadMapping, NoPreset, OSError) as refused:
            raise CommandError(str(refused)) from refused

    def _import(self, options: dict[str, Any]) -> None:
        one = self._begun(options)
        if one.state in ("uploaded", "checking"):
            one = self._checked(one, options)
        if one.state == "checked":
            self._tell(one)
            self._write_rejects(one, options["rejects"])
            if options["check"]:
                return
            self._confirm(one, options)
        one = self._work(one)
        self._tell(one)
        self._write_rejects(one, options["rejects"])
        if one.state != "imported":
            raise CommandError(one.error or f"It is {one.get_state_display().lower()}.")
        if one.errors:
            raise CommandError(f"{one.errors} rows were rejected.", returncode=REJECTED)

    def _begun(self, options: dict[str, Any]) -> Import:
        """Return the import of the file: one that was broken off, or a new one."""
        path: Path = options["file"]
        with path.open("rb") as stream, tenant_context(self.tenant.pk, durable=True):
            one = actions.begin(stream, name=path.name, source=options["source"])
            earlier = (
                Import.objects.filter(
                    checksum=one.checksum, state__in=["importing", "paused"], source=one.source
                )
                .exclude(pk=one.pk)
                .order_by("-id")
                .first()
            )
            if earlier is not None:
                actions.discard(one.pk)
                if earlier.state == "paused":
                    earlier = actions.resume(earlier.pk)
                self.stderr.write(f"{earlier.pk} goes on.")
                return earlier
            if same := actions.same_file(one):
                when = f"{same.finished_at:%Y-%m-%d %H:%M}" if same.finished_at else "before"
                self.stderr.write(f"This file was imported {when} as {same.pk}.")
            columns = self._columns(one, options)
            return actions.set_mapping(one.pk, columns=columns)

    def _columns(self, one: Import, options: dict[str, Any]) -> list[Column]:
        columns = actions.columns_of(one)
        if options["preset"]:
            columns = presets.named(options["preset"], one.header)
        chosen = dict(_pair(text) for text in options["map"])
        unknown = set(chosen) - {column.header.lower() for column in columns}
        if unknown:
            raise ImportRefused(f"The file has no column {', '.join(sorted(unknown))}.")
        found = []
        for column in columns:
            target, _, how = chosen.get(column.header.lower(), "").partition(":")
            if column.header.lower() in chosen:
                column = Column(header=column.header, target=target, transform=how)
            found.append(column)
        return found

    def _checked(self, one: Import, options: dict[str, Any]) -> Import:
        if one.state == "uploaded":
            with tenant_context(self.tenant.pk, durable=True):
                actions.check(one.pk)
        one = self._work(one)
        if options["drop_bad_values"] and one.state == "checked" and one.errors:
            one = self._drop(one)
        if one.state != "checked":
            raise CommandError(one.error or f"It is {one.get_state_display().lower()}.")
        return one

    def _drop(self, one: Import) -> Import:
        with tenant_context(self.tenant.pk, durable=True):
            columns = actions.columns_of(one)
            errors = ImportRow.objects.filter(imported=one, outcome="error")
            problems = list(errors.values_list("problem", flat=True).distinct())
            bad = [problem for problem in problems if targets_of_problem(problem, columns)]
            if bad:
                actions.drop_values(one.pk, problems=bad)
        return self._work(one)

    def _confirm(self, one: Import, options: dict[str, Any]) -> None:
        with tenant_context(self.tenant.pk, durable=True):
            if not options["yes"]:
                raise CommandError("Nothing was written. Say --yes.", returncode=MUST_LOOK)
            if actions.warnings_open(one):
                actions.accept_warnings(one.pk, actor_id=None)
            actions.confirm(one.pk, label=options["label"])

    def _undo(self, options: dict[str, Any]) -> None:
        try:
            with tenant_context(self.tenant.pk, durable=True):
                one = Import.objects.get(pk=options["undo"])
                if one.state != "undoing":
                    one = actions.undo(one.pk, reason=options["reason"])
        except (Import.DoesNotExist, ValidationError, ValueError) as error:
            raise CommandError(f"There is no import {options['undo']}.") from error
        one = self._work(one)
        self.stdout.write(f"{one.pk}: {one.undone} leads taken back or put right, {one.kept} kept")
        with tenant_context(self.tenant.pk):
            for row in ImportRow.objects.filter(imported=one, outcome="kept").order_by("row_no"):
                self.stdout.write(f"  {row.lead_id}: {row.problem}")

    def _work(self, one: Import) -> Import:
        """Work until it is done or stopped, and say how far it is."""
        last = ""
        while True:
            state = work(self.tenant.pk, one.pk, seconds=SLICE_S * 20, connections=CONNECTIONS)
            with tenant_context(self.tenant.pk):
                one = Import.objects.get(pk=one.pk)
            said = f"{one.get_state_display()}: {one.step} {one.done} of {one.total or '?'}"
            if said != last:
                self.stderr.write(said)
            elif state in actions.ACTIVE:
                time.sleep(WAIT_S)
            last = said
            if state not in actions.ACTIVE:
                return one

    def _tell(self, one: Import) -> None:
        by = ", ".join(f"{key} {number}" for key, number in one.matched_by.items())
        self.stdout.write(
            f"{one.pk} {one.state}: {one.total} rows, {one.created} new, {one.updated} known"
            f"{f' ({by})' if by else ''}, {one.unchanged} unchanged, {one.duplicates} duplicates,"
            f" {one.blocked} blocked, {one.reviews} to decide, {one.errors} errors"
        )
        for warning in one.warnings:
            self.stdout.write(f"  warning: {warning['text']}")

    def _write_rejects(self, one: Import, path: Path | None) -> None:
        if path is None:
            return
        with path.open("wb") as stream:
            for piece in reject_file(one, tenant_id=self.tenant.pk):
                stream.write(piece)


def _pair(text: str) -> tuple[str, str]:
    column, mark, target = text.partition("=")
    if not mark:
        raise ImportRefused(f"{text}: write COLUMN=FIELD.")
    return column.strip().lower(), target.strip()
