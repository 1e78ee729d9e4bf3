"""The account of the operating system that the embedded server runs as: PostgreSQL refuses root."""

import os
import pwd
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

#: Accounts that root may hand the server to; the first that exists is taken.
UNPRIVILEGED = ("postgres", "nobody")

#: Nothing of the caller's environment (PGHOST, PGOPTIONS, LANG …) may change how the server runs.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class ServerUnavailable(psycopg.OperationalError):
    """The embedded server cannot be used; the text says why and what to do.

    An OperationalError, so that callers who know "the database is down" know this too.
    """


class CommandFailed(ServerUnavailable):
    """A PostgreSQL program ended with an error; the text is what it printed."""


@dataclass(frozen=True, kw_only=True)
class Account:
    name: str
    uid: int
    gid: int

    @property
    def is_usable(self) -> bool:
        """Whether this process may start programs as this account."""
        return os.geteuid() in (0, self.uid)

    def may_enter(self, folder: Path) -> bool:
        """Whether the account may walk through *folder* and everything above it that exists."""
        return all(self._may_search(step) for step in (folder, *folder.parents))

    def _may_search(self, folder: Path) -> bool:
        try:
            info = folder.stat()
        except OSError:
            return True  # not there yet: made later, by us
        if info.st_uid == self.uid:
            return bool(info.st_mode & 0o100)
        if info.st_gid == self.gid:
            return bool(info.st_mode & 0o010)
        return bool(info.st_mode & 0o001)

    def run(
        self, *command: str | Path, text: str = "", cwd: str | Path = "/", timeout: float = 150
    ) -> str:
        """Run a program as this account and return what it printed.

        Output goes through a file: a pipe would stay open in the postmaster that pg_ctl leaves
        behind, and the caller would wait for it for ever.

        Raises:
            CommandFailed: It ended with an error, took over *timeout* seconds or may not be run.
        """
        other = os.geteuid() != self.uid
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as source:
            source.write(text.encode())
            source.seek(0)
            try:
                code = subprocess.run(
                    [str(word) for word in command],
                    stdin=source,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=ENVIRONMENT,
                    cwd=cwd,  # not ours: initdb fails where it may not enter its working folder
                    timeout=timeout,
                    start_new_session=True,  # Ctrl-C is for us, not for the server
                    umask=0o077,
                    user=self.uid if other else None,
                    group=self.gid if other else None,
                    extra_groups=[] if other else None,
                    check=False,
                ).returncode
            except (OSError, subprocess.TimeoutExpired) as failure:
                raise CommandFailed(f"{command[0]}: {failure}") from failure
            output.seek(0)
            printed = output.read().decode(errors="replace").strip()
        if code:
            raise CommandFailed(f"{Path(command[0]).name} failed ({code}): {printed}")
        return printed


def account_of(uid: int) -> Account:
    """Return the account with that user id.

    Raises:
        ServerUnavailable: The id has no name; PostgreSQL cannot run or log in without one.
    """
    try:
        entry = pwd.getpwuid(uid)
    except KeyError as failure:
        raise ServerUnavailable(
            f"The user id {uid} has no name on this machine, and PostgreSQL needs one. "
            "Add the user to /etc/passwd, or set DATABASE_URL to use a server of your own."
        ) from failure
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def unprivileged_account() -> Account:
    """Return the account that the server of root runs as."""
    for name in UNPRIVILEGED:
        try:
            return account_of(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    raise ServerUnavailable(
        "PostgreSQL does not run as root, and this machine has neither a user 'postgres' nor "
        "'nobody'. Run Fairlead as an ordinary user, or set DATABASE_URL."
    )
