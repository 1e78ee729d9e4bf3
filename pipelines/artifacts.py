"""Immutable outputs: kept small in their row, large in a file, and proved by checksum when read."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from pipelines.models import INLINE_LIMIT, Artifact, ArtifactParent
from tenants.context import current_tenant_id
from tenants.correlation import correlation_id


class ArtifactDamaged(Exception):
    """What is stored is not what was kept: the file is gone, or its checksum differs."""


def keep(
    content: bytes,
    *,
    artifact_type: str,
    mime_type: str = "application/json",
    run_id: str | None = None,
    parents: Iterable[Artifact | str] = (),
    supersedes: Artifact | None = None,
) -> Artifact:
    """Keep *content* for good, in the running tenant's transaction.

    Content of 100,000 bytes and more becomes a file named by its checksum. The file is on the disk
    before the row is written; a transaction that is rolled back leaves at most a file that the
    next one with the same content uses.

    Args:
        content: the bytes as they came.
        artifact_type: what it is, such as ``vendor_answer``.
        mime_type: of *content*.
        run_id: ``run_…`` that made it.
        parents: what it was made from, rows or ids.
        supersedes: the row of which this is the next version.
    """
    checksum = hashlib.sha256(content).hexdigest()
    is_small = len(content) < INLINE_LIMIT
    artifact = Artifact.objects.create(
        run_id=run_id,
        artifact_type=artifact_type,
        mime_type=mime_type,
        storage="inline" if is_small else "object",
        content=content if is_small else None,
        path="" if is_small else _write(content, checksum),
        size=len(content),
        checksum=checksum,
        version=supersedes.version + 1 if supersedes else 1,
        supersedes=supersedes,
        correlation_id=correlation_id(),
    )
    ids = {one if isinstance(one, str) else one.pk for one in parents}
    ArtifactParent.objects.bulk_create(
        ArtifactParent(artifact=artifact, parent_id=parent) for parent in sorted(ids)
    )
    return artifact


def read(artifact: Artifact) -> bytes:
    """Return what was kept.

    Raises:
        ArtifactDamaged: it is gone or was changed since.
    """
    if artifact.storage == "inline":
        content = bytes(artifact.content or b"")
    else:
        content = _read_file(artifact)
    if hashlib.sha256(content).hexdigest() != artifact.checksum:
        raise ArtifactDamaged(f"{artifact.pk} is not what was kept")
    return content


def object_dir() -> Path:
    """Return the folder of the large ones."""
    return Path(settings.FAIRLEAD_OBJECT_DIR)


def _write(content: bytes, checksum: str) -> str:
    """Put a file in its place, whole or not at all; return its path below the folder."""
    relative = Path(current_tenant_id() or "none", checksum[:2], checksum)
    target = object_dir() / relative
    with suppress(FileNotFoundError):
        if hashlib.sha256(target.read_bytes()).hexdigest() == checksum:
            return str(relative)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return str(relative)


def _read_file(artifact: Artifact) -> bytes:
    root = object_dir().resolve()
    file = (root / artifact.path).resolve()
    if not file.is_relative_to(root):
        raise ArtifactDamaged(f"{artifact.pk} points out of the object store")
    try:
        return file.read_bytes()
    except OSError as error:
        raise ArtifactDamaged(f"{artifact.pk} cannot be read: {type(error).__name__}") from error
