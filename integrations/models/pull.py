"""Pulls: saved queries to a vendor, sweeps over their results, and what was seen."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from integrations.models.integration import Integration
from pipelines.models import PipelineRun
from tenants.constraints import AppendOnly, NoDelete
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey

SWEEP_STATUSES = {
    "open": "Running",
    "paused": "Paused",
    "closed": "Complete",
    "cancelled": "Cancelled",
}
#: Of a sweep that is still to be read on; the others have ended.
UNFINISHED = ["open", "paused"]
#: Why a sweep waits. All but those of ``PullSweep.resume_at`` wait for a person.
PAUSE_KINDS = {
    "": "Not paused",
    "person": "Paused by a person",
    "cap": "Its cap is reached",
    "budget": "The budget is spent",
    "balance": "The vendor refuses: balance",
    "busy": "The vendor asked to wait",
    "failed": "The vendor does not answer",
    "refused": "The vendor refuses",
    "unknown": "An answer is missing",
    "unsteady": "The list does not keep still",
}


class PullQuery(ChildModel):
    """A search at a vendor, with what it may cost and when it is run."""

    id = UlidField(prefix="plq", primary_key=True)
    integration = TenantForeignKey(Integration, related_name="pull_queries")
    name = models.CharField(max_length=120)
    params = models.JSONField(help_text="The vendor's search criteria.")
    query_sig = models.CharField(
        max_length=64, editable=False, help_text="SHA-256 over all of the parameters."
    )
    page_size = models.PositiveSmallIntegerField(default=100)
    price_cents = models.PositiveIntegerField(help_text="Per record of the whole result set.")
    run_cap_cents = models.PositiveIntegerField(help_text="A sweep never spends more.")
    every_minutes = models.PositiveIntegerField(
        null=True, blank=True, help_text="Empty: only when somebody runs it."
    )
    next_run_at = models.DateTimeField(null=True, blank=True)
    enabled = models.BooleanField(default=True)
    counted = models.PositiveIntegerField(
        null=True, editable=False, help_text="Records the vendor said it has, when last asked."
    )
    counted_at = models.DateTimeField(null=True, editable=False)
    count_asked_at = models.DateTimeField(null=True, editable=False)
    count_error = models.CharField(max_length=300, blank=True, default="", editable=False)
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "pull_queries"
        verbose_name_plural = "pull queries"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "integration", "name"], name="ux_pull_queries_name"
            ),
            models.UniqueConstraint(
                fields=["tenant", "integration", "query_sig"], name="ux_pull_queries_sig"
            ),
            models.CheckConstraint(
                condition=Q(page_size__gte=1, page_size__lte=500), name="pull_queries_page_size"
            ),
            models.CheckConstraint(
                condition=Q(every_minutes=None) | Q(every_minutes__gte=5),
                name="pull_queries_not_all_the_time",
            ),
            NoDelete(name="pull_queries_stay"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "next_run_at"],
                condition=Q(enabled=True, next_run_at__isnull=False),
                name="pull_queries_due",
            )
        ]

    def __str__(self) -> str:
        return self.name


class PullSweep(ChildModel):
    """One reading of a query's results from the first page; closed when nothing new can follow.

    ``epoch`` is the fence: whoever takes a sweep over raises it, and a page is only committed
    under the epoch that its reader began with.

    A pass is one way down the list from its first record; a sweep that died begins another. What
    the passes up to ``joined_pass`` saw is one piece without a gap, ``deepest_skip`` long; a newer
    pass that meets it jumps to its end. *is_full*: reads all of it, known or not.
    """

    STATUSES, PAUSE_KINDS = SWEEP_STATUSES, PAUSE_KINDS

    id = UlidField(prefix="swp", primary_key=True)
    query = TenantForeignKey(PullQuery, related_name="sweeps")
    source = models.CharField(max_length=40)
    query_sig = models.CharField(max_length=64)
    params = models.JSONField()
    status = models.CharField(max_length=9, choices=SWEEP_STATUSES, default="open")
    is_full = models.BooleanField(default=False)
    pause_kind = models.CharField(max_length=8, choices=PAUSE_KINDS, blank=True, default="")
    resume_at = models.DateTimeField(null=True, help_text="When it goes on by itself.")
    epoch = models.PositiveIntegerField(default=1)
    pass_no = models.PositiveIntegerField(default=1)
    joined_pass = models.PositiveIntegerField(default=1)
    steps_back = models.PositiveSmallIntegerField(
        default=0, help_text="How often the list had moved the wrong way."
    )
    expected_id = models.CharField(
        max_length=120, blank=True, default="", help_text="Which the next page must have."
    )
    lease_until = models.DateTimeField(null=True)
    next_skip = models.PositiveIntegerField(default=0)
    deepest_skip = models.PositiveIntegerField(default=0)
    results_found = models.PositiveIntegerField(null=True)
    pages = models.PositiveIntegerField(default=0)
    records = models.PositiveIntegerField(default=0, help_text="Listed, repeats included.")
    created = models.PositiveIntegerField(default=0)
    updated = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    reviews = models.PositiveIntegerField(default=0)
    blocked = models.PositiveIntegerField(default=0)
    errors = models.PositiveIntegerField(default=0)
    new_ids = models.PositiveIntegerField(default=0, help_text="Never listed before.")
    cost_cents = models.PositiveIntegerField(default=0)
    cap_cents = models.PositiveIntegerField()
    overrun_cents = models.PositiveIntegerField(
        default=0, help_text="Billed beyond the cap, though the vendor's count had said less."
    )
    stop_reason = models.CharField(max_length=200, blank=True)
    run = TenantForeignKey(PipelineRun, null=True, related_name="+")
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    started_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "pull_sweeps"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "source", "query_sig"],
                condition=Q(status__in=UNFINISHED),
                name="ux_pull_sweeps_open",
            ),
            models.CheckConstraint(
                condition=Q(status__in=list(SWEEP_STATUSES)), name="pull_sweeps_status_is_known"
            ),
            models.CheckConstraint(
                condition=(
                    ~Q(status__in=UNFINISHED)
                    & Q(closed_at__isnull=False, closed_at__gte=F("started_at"))
                )
                | (Q(status__in=UNFINISHED) & Q(closed_at=None)),
                name="pull_sweeps_closed_has_time",
            ),
            models.CheckConstraint(
                condition=Q(cost_cents__lte=F("cap_cents") + F("overrun_cents")),
                name="pull_sweeps_within_cap",
            ),
            models.CheckConstraint(
                condition=Q(pause_kind__in=list(PAUSE_KINDS)), name="pull_sweeps_pause_is_known"
            ),
            models.CheckConstraint(
                condition=(Q(status="paused") & ~Q(pause_kind=""))
                | (~Q(status="paused") & Q(pause_kind="", resume_at=None)),
                name="pull_sweeps_paused_has_kind",
            ),
            models.CheckConstraint(
                condition=Q(joined_pass__lte=F("pass_no")), name="pull_sweeps_joined_was_begun"
            ),
            NoDelete(name="pull_sweeps_stay"),
        ]
        indexes = [models.Index(fields=["tenant", "query", "-id"], name="pull_sweeps_query")]

    def __str__(self) -> str:
        return f"{self.source} {self.get_status_display()}"


class PullPage(ChildModel):
    """One page as it was listed, in the order in which a sweep read them."""

    id = UlidField(prefix="spg", primary_key=True)
    sweep = TenantForeignKey(PullSweep, related_name="listed")
    page_no = models.PositiveIntegerField()
    skip = models.PositiveIntegerField()
    epoch = models.PositiveIntegerField()
    pass_no = models.PositiveIntegerField(default=1)
    is_connected = models.BooleanField(
        default=True, help_text="It follows on what was read before it, without a gap."
    )
    ids = models.JSONField(help_text="The vendor's ids, in order.")
    first_id = models.CharField(max_length=120, blank=True)
    last_id = models.CharField(max_length=120, blank=True)
    cursor = models.CharField(max_length=500, blank=True)
    results_found = models.PositiveIntegerField()
    new_ids = models.PositiveIntegerField(default=0)
    cost_cents = models.PositiveIntegerField(default=0)
    artifact = TenantForeignKey("pipelines.Artifact", null=True, related_name="+")
    call = TenantForeignKey("integrations.VendorCall", null=True, related_name="+")
    fetched_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "pull_pages"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "sweep", "page_no"], name="ux_pull_pages"),
            AppendOnly(name="pull_pages_append_only"),
        ]

    def __str__(self) -> str:
        return f"page {self.page_no}"


class VendorSeen(ChildModel):
    """A vendor's record that a query listed; closed when the sweep that saw it was complete."""

    id = UlidField(prefix="vsn", primary_key=True)
    sweep = TenantForeignKey(PullSweep, related_name="+", help_text="The newest that listed it.")
    source = models.CharField(max_length=40)
    query_sig = models.CharField(max_length=64)
    vendor_id = models.CharField(max_length=120)
    closed = models.BooleanField(default=False)
    page = TenantForeignKey(PullPage, null=True, related_name="+", help_text="That listed it so.")
    pass_no = models.PositiveIntegerField(default=1)

    class Meta:
        db_table = "vendor_seen"
        verbose_name_plural = "vendor seen"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "source", "query_sig", "vendor_id"], name="ux_vendor_seen"
            ),
            NoDelete(name="vendor_seen_stays"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "sweep"], condition=Q(closed=False), name="vendor_seen_open"
            ),
            models.Index(fields=["tenant", "source", "vendor_id"], name="vendor_seen_record"),
        ]

    def __str__(self) -> str:
        return self.vendor_id


class PullBill(ChildModel):
    """What one account paid for one query on one of the vendor's days: records of its result set.

    A request is billed for what it finds beyond the ``records`` that were billed before it.
    """

    id = UlidField(prefix="plb", primary_key=True)
    integration = TenantForeignKey(Integration, related_name="+")
    query_sig = models.CharField(max_length=64)
    day = models.DateField(help_text="The vendor's: UTC.")
    records = models.PositiveIntegerField(default=0)
    cents = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "pull_bills"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "integration", "query_sig", "day"], name="ux_pull_bills"
            ),
            NoDelete(name="pull_bills_stay"),
        ]

    def __str__(self) -> str:
        return f"{self.day}: {self.records}"
