"""What leads tell the apps above them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from leads.states import LeadState


@dataclass(frozen=True, kw_only=True)
class LeadMoved:
    """A lead changed its state."""

    lead_id: str
    to: LeadState


@dataclass(frozen=True, kw_only=True)
class CallWanted:
    """A lead should be called: ``reason`` is ``gold``, ``email``, ``wants_call`` or ``manual``."""

    lead_id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class AddressSuppressed:
    """Nobody may text this address any more: what is planned for these leads must stop."""

    address: str
    lead_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TimerFired:
    """A silence timer ran out without an answer; its effect is in the same transaction."""

    lead_id: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class LeadsMeet:
    """Two leads are about to be locked together: add the numbers by which people reach them."""

    lead_ids: tuple[str, str]
    addresses: set[str]


@dataclass(frozen=True, kw_only=True)
class LeadsMerged:
    """One lead became part of another; everything that moves has moved."""

    survivor_id: str
    merged_id: str
    merge_id: str


@dataclass(frozen=True, kw_only=True)
class LeadsUnmerged:
    """A merge was taken back: the rows it moved are where they were.

    Handlers give back what arrived *since* and belongs to the second lead, and say so here:
    ids of messages in ``returned``; leads that must be silent, with the ``cev_…`` that says so,
    in ``opted_out``; in ``heard`` those that wrote since.
    """

    survivor_id: str
    merged_id: str
    merge_id: str
    since: datetime
    returned: set[str] = field(default_factory=set)
    opted_out: dict[str, str] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class ImportFinished:
    """All leads of a file are written; *enrich*: somebody asked to have them enriched."""

    import_id: str
    run_id: str
    enrich: bool
