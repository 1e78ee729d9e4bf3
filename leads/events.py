"""What leads tell the apps above them."""

from __future__ import annotations

from dataclasses import dataclass

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
class ImportFinished:
    """All leads of a file are written; *enrich*: somebody asked to have them enriched."""

    import_id: str
    run_id: str
    enrich: bool
