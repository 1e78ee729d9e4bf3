"""Places where a test kills the process that comes by; nothing at all outside tests.

A test names a folder in ``FAIRLEAD_FAULTPOINTS`` and arms a point by putting an empty file of its
name there. The first process that reaches the point takes the file away and dies as if by
``kill -9``, so that the one which repeats its work gets past.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

#: The folder of armed points; empty, and so without any effect, outside tests.
_armed = os.environ.get("FAIRLEAD_FAULTPOINTS", "")
if os.environ.get("FAIRLEAD_ENV") != "test":
    _armed = ""


def hit(name: str) -> None:
    """Die here when a test has armed the point *name*, such as ``intake.after_commit``."""
    if _armed:
        _strike(name)


def _strike(name: str) -> None:
    try:
        Path(_armed, name).unlink()  # only one process succeeds
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
