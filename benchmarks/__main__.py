"""All benchmarks, one after the other: ``make bench`` or ``python -m benchmarks [name …]``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ALL = (
    "intake", "drain", "send", "backlog", "suppressions", "bell", "start",
    "import", "reimport", "pull", "score", "pages_leads",
)  # fmt: skip
#: Names whose script is called otherwise; one script may print the lines of several.
SCRIPTS = {"import": "imports", "reimport": "imports"}


def main(names: list[str]) -> int:
    missed = 0
    for name in dict.fromkeys(SCRIPTS.get(name, name) for name in names or ALL):
        script = Path(__file__).parent / f"{name}.py"
        missed += subprocess.run([sys.executable, str(script)]).returncode != 0
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
