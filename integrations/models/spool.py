from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from tenants.constraints import NoDelete


class SpoolHost(models.Model):
    """A spool directory of a web host, and until when it is known to hold nothing.

    No tenant's row: a host serves them all. Sends pause while any host that is not retired has no
    running lease: it may hold an opt-out that the database does not know yet.
    """

    id = models.UUIDField(primary_key=True, editable=False, help_text="Kept in the directory.")
    name = models.CharField(max_length=200, help_text="Of the host, for people.")
    clear_until = models.DateTimeField(help_text="Until then its spool is surely empty.")
    pending = models.PositiveIntegerField(default=0, help_text="Deliveries in it, when last said.")
    oldest_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(db_default=Now())
    created_at = models.DateTimeField(db_default=Now())
    stopped_at = models.DateTimeField(null=True, help_text="It ended in order, with nothing left.")
    retired_at = models.DateTimeField(null=True, help_text="Gone for good, says a person.")
    retired_by = models.CharField(max_length=150, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        db_table = "spool_hosts"
        constraints = [
            models.CheckConstraint(
                condition=Q(retired_at=None) | (~Q(retired_by="") & ~Q(reason="")),
                name="spool_hosts_retired_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(stopped_at=None) | Q(pending=0), name="spool_hosts_stop_empty"
            ),
            NoDelete(name="spool_hosts_stay"),
        ]

    def __str__(self) -> str:
        return self.name
