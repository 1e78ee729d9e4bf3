"""Artifacts: small ones in their row, large ones in files, and none that is not what was kept."""

from __future__ import annotations

import hashlib

import pytest

from pipelines.artifacts import ArtifactDamaged, keep, object_dir, read
from pipelines.models import INLINE_LIMIT, Artifact, ArtifactParent
from tests.raw import refused

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.FAIRLEAD_OBJECT_DIR = str(tmp_path)
    return tmp_path


@pytest.mark.parametrize("size", [0, 1, INLINE_LIMIT - 1, INLINE_LIMIT, INLINE_LIMIT * 3])
def test_what_is_kept_is_what_is_read(office, folder, size):
    content = bytes(n % 256 for n in range(size))

    with office.inside():
        made = Artifact.objects.get(pk=keep(content, artifact_type="test").pk)
        assert read(made) == content

    assert made.checksum == hashlib.sha256(content).hexdigest()
    assert made.storage == ("inline" if size < INLINE_LIMIT else "object")
    assert bool(list(folder.rglob("*"))) == (size >= INLINE_LIMIT)


def test_a_file_that_was_changed_or_lost_is_not_returned(office):
    with office.inside():
        made = keep(b"x" * INLINE_LIMIT, artifact_type="test")
        file = object_dir() / made.path
        file.write_bytes(b"y" * INLINE_LIMIT)
        with pytest.raises(ArtifactDamaged, match="not what was kept"):
            read(made)
        file.unlink()
        with pytest.raises(ArtifactDamaged, match="cannot be read"):
            read(made)


def test_keeping_it_again_mends_the_file(office):
    content = b"x" * INLINE_LIMIT
    with office.inside():
        first = keep(content, artifact_type="test")
        (object_dir() / first.path).write_bytes(b"broken")

        second = keep(content, artifact_type="test")

        assert (first.path, read(first), read(second)) == (second.path, content, content)


def test_two_tenants_do_not_share_a_file(office, other_office):
    paths = set()
    for one in (office, other_office):
        with one.inside():
            paths.add(keep(b"x" * INLINE_LIMIT, artifact_type="test").path)

    assert len(paths) == 2


def test_a_path_that_leads_out_is_not_followed(office, folder):
    (folder.parent / "secret").write_bytes(b"secret")
    made = Artifact(
        storage="object", path="../secret", checksum=hashlib.sha256(b"secret").hexdigest()
    )

    with office.inside(), pytest.raises(ArtifactDamaged, match="out of the object store"):
        read(made)


def test_lineage_and_versions_are_kept(office):
    with office.inside():
        source = keep(b"source", artifact_type="test")
        first = keep(b"1", artifact_type="test", parents=[source])
        second = keep(b"2", artifact_type="test", parents=[source.pk], supersedes=first)

        assert (second.version, second.supersedes_id) == (2, first.pk)
        assert ArtifactParent.objects.filter(parent=source).count() == 2
        assert refused("UPDATE artifacts SET size = 0") == "42501"
