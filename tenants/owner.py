"""The owner's connection, for commands of apps that may not reach beneath ``tenants``."""

from __future__ import annotations

from config.pg.roles import as_owner

__all__ = ["as_owner"]
