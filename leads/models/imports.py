"""Files on their way to leads, how their columns are read, and lists people keep."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from leads.models.lead import Lead
from pipelines.models import PipelineRun
from tenants.constraints import NoDelete
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey, TenantModel

IMPORT_STATES = {
    "uploading": "Uploading",
    "uploaded": "Uploaded",
    "checking": "Checking",
    "checked": "Checked",
    "importing": "Importing",
    "paused": "Paused",
    "imported": "Imported",
    "undoing": "Undoing",
    "undone": "Undone",
    "failed": "Failed",
    "discarded": "Discarded",
}
IMPORT_OUTCOMES = {
    "error": "Error",
    "duplicate": "Duplicate in the file",
    "blocked": "Blocked",
    "review": "Waits for a person",
    "kept": "Kept, because it was edited",
}


class ImportPreset(TenantModel):
    """How the columns of files with this header are read."""

    id = UlidField(prefix="imp", primary_key=True)
    name = models.CharField(max_length=80)
    fingerprint = models.CharField(
        max_length=64, help_text="SHA-256 of the header: names in lower case, in order."
    )
    mapping = models.JSONField(
        help_text="Per column of the file: header, target, transform, options."
    )
    options = models.JSONField(default=dict, blank=True)
    is_builtin = models.BooleanField(default=False)
    used_at = models.DateTimeField(null=True, blank=True, editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "import_presets"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="ux_import_presets_name"),
            models.UniqueConstraint(
                fields=["tenant", "fingerprint"], name="ux_import_presets_fingerprint"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Import(TenantModel):
    """One file, from upload to result; every number of its pages is a column here."""

    STATES = IMPORT_STATES

    id = UlidField(prefix="import", primary_key=True)
    name = models.CharField(max_length=200, help_text="Of the file.")
    source = models.CharField(max_length=40, default="upload")
    state = models.CharField(max_length=9, choices=IMPORT_STATES, default="uploading")
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes.")
    checksum = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the file.")
    encoding = models.CharField(max_length=20, blank=True)
    delimiter = models.CharField(max_length=1, blank=True)
    header = models.JSONField(default=list)
    samples = models.JSONField(default=list, help_text="First rows, as read.")
    mapping = models.JSONField(default=list)
    options = models.JSONField(default=dict)
    preset = TenantForeignKey(ImportPreset, null=True, related_name="+")
    run = TenantForeignKey(PipelineRun, null=True, related_name="+")
    undo_run = TenantForeignKey(PipelineRun, null=True, related_name="+")
    total = models.PositiveIntegerField(default=0, help_text="Rows read.")
    done = models.PositiveIntegerField(default=0, help_text="Rows finished in this step.")
    step = models.CharField(
        max_length=10, blank=True, db_default="", default="", help_text="Where a state has steps."
    )
    kept = models.PositiveIntegerField(
        db_default=0, default=0, help_text="Leads an undo left alone, in whole or in part."
    )
    undone = models.PositiveIntegerField(
        db_default=0, default=0, help_text="Leads an undo took back or put right."
    )
    created = models.PositiveIntegerField(default=0)
    updated = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(default=0)
    blocked = models.PositiveIntegerField(default=0)
    errors = models.PositiveIntegerField(default=0)
    reviews = models.PositiveIntegerField(default=0)
    matched_by = models.JSONField(default=dict, help_text="Key → rows that would update by it.")
    warnings = models.JSONField(default=list, help_text="What is suspicious about the list.")
    warnings_accepted_by = TenantForeignKey(Actor, null=True, related_name="+")
    lease_until = models.DateTimeField(null=True)
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    confirmed_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "imports"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=list(IMPORT_STATES)), name="imports_state_is_known"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["importing", "imported"]) | Q(confirmed_at__isnull=False),
                name="imports_write_after_confirm",
            ),
            models.CheckConstraint(
                condition=Q(state="failed") | Q(error=""), name="imports_only_failed_err"
            ),
            NoDelete(name="imports_stay"),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="imports_newest"),
            models.Index(fields=["tenant", "checksum"], name="imports_checksum"),
        ]

    def __str__(self) -> str:
        return self.name


class ImportPart(ChildModel):
    """A piece of an uploaded file, compressed; in the database so that any host can go on."""

    id = UlidField(prefix="ipt", primary_key=True)
    imported = TenantForeignKey(Import, related_name="parts")
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        db_table = "import_parts"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "imported", "number"], name="ux_import_parts")
        ]

    def __str__(self) -> str:
        return f"part {self.number}"


class ImportRow(ChildModel):
    """A row of a file that did not simply become a lead, and why."""

    OUTCOMES = IMPORT_OUTCOMES

    id = UlidField(prefix="imr", primary_key=True)
    imported = TenantForeignKey(Import, related_name="rows")
    row_no = models.PositiveIntegerField(help_text="Line of the file's data, 1 is the first.")
    outcome = models.CharField(max_length=9, choices=IMPORT_OUTCOMES)
    problem = models.CharField(max_length=200, blank=True)
    raw = models.JSONField(default=list, help_text="The row's values, as read.")
    lead = TenantForeignKey(Lead, null=True, related_name="+")

    class Meta:
        db_table = "import_rows"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "imported", "row_no", "outcome"], name="ux_import_rows"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=list(IMPORT_OUTCOMES)), name="import_rows_outcome_is_known"
            ),
        ]
        indexes = [
            models.Index(
                F("tenant"), F("imported"), F("outcome"), F("row_no"), name="import_rows_outcome"
            )
        ]

    def __str__(self) -> str:
        return f"row {self.row_no}: {self.outcome}"


class ImportChange(ChildModel):
    """What an import changed of a lead that was there before: values before and after, by field.

    An undo puts back what is still as the import left it.
    """

    id = UlidField(prefix="imc", primary_key=True)
    imported = TenantForeignKey(Import, related_name="changes")
    lead = TenantForeignKey(Lead, related_name="+")
    row_no = models.PositiveIntegerField(help_text="The first row that named it.")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    undone_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "import_changes"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "imported", "lead"], name="ux_import_changes_lead"
            ),
            NoDelete(name="import_changes_stay"),
        ]

    def __str__(self) -> str:
        return f"{self.lead_id}: {', '.join(sorted(self.before))}"


class SavedView(TenantModel):
    """A filter of the leads list somebody gave a name; without an actor it is everybody's."""

    id = UlidField(prefix="svw", primary_key=True)
    name = models.CharField(max_length=60)
    actor = TenantForeignKey(Actor, null=True, blank=True, related_name="saved_views")
    query = models.JSONField(default=dict, help_text="Parameters of the list.")

    class Meta:
        db_table = "saved_views"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "actor", "name"], nulls_distinct=False, name="ux_saved_views_name"
            ),
        ]

    def __str__(self) -> str:
        return self.name
