"""`make run` on a fresh copy of this checkout, until its first page: cold, then warm.

Cold makes the virtual environment, downloads every package (pip's cache is off), initialises the
database, migrates and makes the demo's data. Warm is the same command once more.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from common import ROOT, free_port, note, report

COLD_S, WARM_S = 90.0, 10.0
GIVE_UP_S = 600.0
LEFT_BEHIND = shutil.ignore_patterns(
    ".venv", "var", ".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"
)


def main() -> bool:
    folder = Path(tempfile.mkdtemp(prefix="fairlead-start-"))
    folder.chmod(0o755)
    checkout = folder / "checkout"
    shutil.copytree(ROOT, checkout, ignore=LEFT_BEHIND)
    try:
        cold = start_and_stop(checkout)
        note(f"  cold {cold:.1f} s")
        warm = start_and_stop(checkout)
        note(f"  warm {warm:.1f} s")
    finally:
        python = checkout / ".venv" / "bin" / "python"
        if python.exists():
            subprocess.run(
                [python, "manage.py", "db", "stop"],
                cwd=checkout,
                env=environment(),
                stdout=subprocess.DEVNULL,
            )
        shutil.rmtree(folder, ignore_errors=True)
    return report(
        "start",
        value=cold,
        unit="s, make run to first page on a fresh checkout",
        against=f"warm: {warm:.1f} s",
        ratio=warm / cold,
        bar=f"cold < {COLD_S:.0f} s, warm < {WARM_S:.0f} s",
        ok=cold < COLD_S and warm < WARM_S,
        warm_s=round(warm, 1),
    )


def environment(**more: str) -> dict[str, str]:
    """What a fresh shell has; nothing of this run's own settings."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return {**kept, **proxies, **pip, "PIP_NO_CACHE_DIR": "1", **more}


def start_and_stop(checkout: Path) -> float:
    """Run ``make run`` until the login page answers; return the seconds that took."""
    port = free_port()
    ports = {"PORT": str(port), "SANDBOX_PORT": str(free_port())}
    with (checkout / "start.log").open("wb") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            ["make", "run"],
            cwd=checkout,
            env=environment(**ports),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not answers(f"http://127.0.0.1:{port}/login/"):
                if process.poll() is not None or time.monotonic() - began > GIVE_UP_S:
                    raise SystemExit((checkout / "start.log").read_text())
                time.sleep(0.1)
            return time.monotonic() - began
        finally:
            stop_group(process)


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as page:
            return page.status == 200
    except (URLError, OSError):
        return False


def stop_group(process: subprocess.Popen) -> None:
    """Ctrl-C, as in a terminal: everything of the foreground group hears it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)


if __name__ == "__main__":
    sys.exit(not main())
