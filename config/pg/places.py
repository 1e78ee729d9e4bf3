"""Where the embedded server keeps its data, socket and binaries.

Normally everything is in `var/` (or FAIRLEAD_DATA_DIR):

    var/pg        the data folder, 0700, owned by the server's account
    var/pg-run    the socket
    var/pg.lock   held while somebody starts or stops the server
    var/pg-bin    copies of binaries that the server's account could not reach

Where the server's account cannot walk there (root's 0700 checkout) or we cannot write there, the
same names stand in a state folder, and `var/pg.path` says where that is.
"""

import contextlib
import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from config.pg.account import Account, ServerUnavailable, account_of, unprivileged_account

REPOSITORY = Path(__file__).resolve().parents[2]
SOCKET_NAME = ".s.PGSQL.5432"

#: Bytes of a socket's path without the final NUL (`sun_path` of unix(7)).
SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103


@dataclass(frozen=True, kw_only=True)
class Places:
    base: Path
    home: Path
    account: Account

    @property
    def data(self) -> Path:
        return self.home / "pg"

    @property
    def lock(self) -> Path:
        return self.home / "pg.lock"

    @property
    def log(self) -> Path:
        return self.data / "server.log"

    @property
    def copies(self) -> Path:
        return self.home / "pg-bin"

    @property
    def sock(self) -> Path:
        """The folder of the socket: beside the data, or a short one where that path is too long.

        The short one is named by user and hash alone, never by TMPDIR or XDG_RUNTIME_DIR: web,
        worker and shell must find the same socket whatever their environments.
        """
        folder = self.home / "pg-run"
        if len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_BYTES:
            return folder
        return Path("/tmp") / f"fairlead-{self.account.uid}-{_hash(self.home)}"  # noqa: S108

    def clients(self) -> list[str]:
        """Names of who may log in: root, we, the server's account and the checkout's owner."""
        names = {self.account.name}
        for uid in (0, os.geteuid(), REPOSITORY.stat().st_uid):
            try:
                names.add(account_of(uid).name)
            except ServerUnavailable:
                continue  # a checkout mounted from elsewhere: its owner cannot be here
        return sorted(names)

    def prepare(self) -> None:
        """Make the folders, with the owners and modes that the server and its clients need."""
        for folder in {self.base, self.home}:
            _make_open(folder)
        if self.home != self.base and os.access(self.base, os.W_OK):
            pointer = self.base / "pg.path"
            fresh = pointer.with_suffix(".new")
            fresh.write_text(f"{self.home}\n")
            fresh.replace(pointer)
        self._make_socket_folder()

    def _make_socket_folder(self) -> None:
        folder = self.sock
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        info = folder.lstat()
        # In /tmp anybody may have put this name first; a link or a foreign folder is refused.
        if not stat.S_ISDIR(info.st_mode) or info.st_uid not in (os.geteuid(), self.account.uid):
            raise ServerUnavailable(
                f"The folder of the database's socket, {folder}, belongs to somebody else. "
                "Remove it, or set FAIRLEAD_DATA_DIR to a folder with a shorter path."
            )
        if os.geteuid() == 0:
            os.chown(folder, self.account.uid, self.account.gid)
        others = set(self.clients()) - {"root", self.account.name}
        folder.chmod(0o711 if others else 0o700)


def data_folder() -> Path:
    """The folder for everything the program keeps: FAIRLEAD_DATA_DIR, else `var/`."""
    return Path(os.environ.get("FAIRLEAD_DATA_DIR") or REPOSITORY / "var").expanduser().resolve()


def locate(base: Path) -> Places:
    """Say where the server of *base* lives and as whom it runs, without making anything.

    Data that exists decides: it is used where it is and by the account that owns it, so that root
    may look into an ordinary user's database without taking it over.
    """
    home = _home(base)
    try:
        owner = (home / "pg").stat().st_uid
    except OSError:
        owner = os.geteuid()
    account = account_of(owner) if owner else unprivileged_account()
    return Places(base=base, home=home, account=account)


def _home(base: Path) -> Path:
    if os.path.exists(base / "pg"):
        return base
    if pointed := _pointed(base):
        return pointed
    if os.geteuid() == 0:
        return base if unprivileged_account().may_enter(base) else Path("/var/lib") / _name(base)
    if _is_writable(base):
        return base
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / _name(base)


def _pointed(base: Path) -> Path | None:
    try:
        folder = Path((base / "pg.path").read_text().strip())
    except OSError:
        return None
    # A checkout that was copied brings the pointer along; its name tells whose it is.
    return folder if folder.name == _name(base) else None


def _name(base: Path) -> str:
    return f"fairlead-{_hash(base)}"


def _hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _is_writable(folder: Path) -> bool:
    nearest = next(step for step in (folder, *folder.parents) if os.path.exists(step))
    return os.access(nearest, os.W_OK | os.X_OK)


def _make_open(folder: Path) -> None:
    missing = [step for step in (folder, *folder.parents) if not os.path.isdir(step)]
    for step in reversed(missing):
        try:
            step.mkdir(exist_ok=True)
        except OSError as failure:
            raise ServerUnavailable(
                f"The folder {step} for the database cannot be made ({failure.strerror}). "
                "Set FAIRLEAD_DATA_DIR to a folder that can be written, or DATABASE_URL."
            ) from failure
        if os.geteuid() == 0:
            step.chmod(0o755)  # whatever root's umask: the server's account must walk through
