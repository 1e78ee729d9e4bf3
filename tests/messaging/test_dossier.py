"""The dossier: complete, and a file that proves itself to somebody who does not trust us."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys

import pytest
from django.conf import settings

from integrations.models import WebhookEvent
from leads.actions import Choice, record_choice
from leads.models import Consent
from leads.reading import READER_VERSION
from messaging import consent_stats
from messaging.actions.consent import confirm_hold, opt_out, release_hold
from messaging.actions.dossiers import check_dossier, export_dossier
from messaging.dossier import dossier_of, head_of
from messaging.models import ConsentEffect, DossierExport, OutboundMessage
from tests.conftest import OURS, THEIRS
from tests.messaging.pages import queries
from tests.raw import refused

pytestmark = pytest.mark.django_db

SCRIPT = settings.BASE_DIR / "docs" / "verify_dossier.py"


def export(office, address=THEIRS):
    with office.inside():
        return export_dossier(address, tenant=office.tenant, actor=office.agent)


def records(data):
    return [json.loads(line)["record"] for line in data.splitlines()]


def verify(path, *more):
    return subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(path), *more],
        capture_output=True,
        text=True,
        check=False,
    )


def forged(data, **changes):
    """Compute every hash of a changed file anew, as a forger with the script would."""
    head, chains, lines = "0" * 64, {}, []
    for record in records(data):
        if record["kind"] == "event":
            record |= changes
        rest = f',"record":{json.dumps(record, separators=(",", ":"))}}}'.encode()
        before = chains.get(record.get("consent"), "0" * 64)
        head = hashlib.sha256(f"{head}{before}".encode() + rest).hexdigest()
        chains[record.get("consent")] = head
        lines.append(b'{"hash":"%s"%s\n' % (head.encode(), rest))
    return b"".join(lines)


# --- what is in it ----------------------------------------------------------------------------


def test_it_has_the_raw_webhook_and_its_hash(office):
    office.receive("Please STOP texting me")

    data, _ = export(office)

    event = next(record for record in records(data) if record["kind"] == "event")
    with office.inside():
        stored = WebhookEvent.objects.get()
    body = base64.b64decode(event["evidence"]["body_base64"])
    assert body == bytes(stored.body)
    assert event["evidence"]["sha256"] == hashlib.sha256(body).hexdigest()
    assert event["evidence"]["signature"] == "valid"
    assert (event["keyword"], event["rule_version"]) == ("stop", READER_VERSION)
    assert 0 <= event["time_to_block_ms"] < 5000


def test_it_has_what_was_stopped_and_what_was_blocked_later(desk, queue):
    queued = queue(desk, "still to go")
    desk.receive("STOP")
    with desk.inside():
        effects = set(ConsentEffect.objects.values_list("kind", "subject"))
        dossier = dossier_of(THEIRS)

    assert ("text_cancelled", queued.pk) in effects
    assert {kind for kind, _ in effects} >= {"text_cancelled", "lead_suppressed"}
    assert [text.pk for text in dossier.blocked] == [queued.pk]
    data, _ = export(desk)
    event = next(record for record in records(data) if record["kind"] == "event")
    assert {"kind": "text_cancelled", "id": queued.pk} == {
        name: event["stopped"][0][name] for name in ("kind", "id")
    } or any(stop["id"] == queued.pk for stop in event["stopped"])
    assert any(record["kind"] == "blocked" for record in records(data))


def test_a_choice_by_hand_has_who_and_why(office):
    with office.inside():
        opt_out(Choice(address=THEIRS, kind="opt_out", reason="phone", actor_id=office.agent.pk))

    data, _ = export(office)

    event = next(record for record in records(data) if record["kind"] == "event")
    assert (event["by"], event["reason"], event["evidence"]) == ("Cam Agent", "phone", None)


def test_every_scope_and_channel_is_in_it(office):
    with office.inside():
        for more in ({}, {"channel": "call"}, {"scope": f"number:{OURS}"}, {"scope": "list:x"}):
            record_choice(Choice(address=THEIRS, kind="opt_out", **more))

    data, _ = export(office)

    rows = [record for record in records(data) if record["kind"] == "consent"]
    assert {(row["channel"], row["scope"]) for row in rows} >= {
        ("sms", ""),
        ("call", ""),
        ("sms", f"number:{OURS}"),
        ("sms", "list:x"),
    }


def test_a_dossier_is_of_one_tenant(office, other_office):
    other_office.receive("STOP")
    with office.inside():
        assert dossier_of(THEIRS).consents == []


@pytest.mark.parametrize("many", [1, 30])
def test_its_queries_do_not_grow(office, many):
    for _ in range(many):
        with office.inside():
            record_choice(Choice(address=THEIRS, kind="opt_out"))
    with office.inside(), queries() as asked:
        dossier_of(THEIRS)

    assert len(asked) <= 8


# --- the file proves itself -------------------------------------------------------------------


def test_the_script_is_short_and_needs_nothing():
    text = SCRIPT.read_text()

    assert len(text.splitlines()) <= 20
    imported = {line.split()[1] for line in text.splitlines() if line[:4] in ("impo", "from")}
    assert imported == {"hashlib", "json", "sys", "pathlib"}


def test_the_script_passes_what_we_handed_out(office, tmp_path):
    office.receive("STOP")
    office.receive("START")
    data, made = export(office)
    path = tmp_path / "dossier.jsonl"
    path.write_bytes(data)

    said = verify(path)
    assert (said.returncode, said.stdout) == (0, f"Unchanged. Head: {made.head}\n")
    assert verify(path, made.head).returncode == 0
    assert verify(path, "0" * 64).returncode != 0


#: Runs the script on every one of many files in one process: one changed byte each.
DRIVER = """
import runpy, sys, io
path, script = sys.argv[1:]
data = open(path, "rb").read()
passed = []
for place in range(len(data)):
    for change in (1, 32, 128):
        changed = bytearray(data)
        changed[place] ^= change
        open(path, "wb").write(changed)
        sys.argv = [script, path]
        sys.stdout, real = io.StringIO(), sys.stdout
        try:
            runpy.run_path(script, run_name="__main__")
        except BaseException:
            pass
        else:
            passed.append((place, change))
        sys.stdout = real
print(len(data), passed)
"""


def test_every_single_changed_byte_fails(office, tmp_path):
    with office.inside():
        record_choice(Choice(address=THEIRS, kind="opt_out", reason="x"))
    data, _ = export(office)
    path = tmp_path / "dossier.jsonl"
    path.write_bytes(data)

    said = subprocess.run(
        [sys.executable, "-I", "-c", DRIVER, str(path), str(SCRIPT)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout.split(" ", 1) == [str(len(data)), "[]\n"]


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:-1],  # cut
        lambda lines: lines[1:],
        lambda lines: lines[:1] + lines[2:],
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],  # moved
        lambda lines: [*lines, lines[-1]],  # added
        lambda lines: [*lines, b"x"],
        lambda lines: [*lines[:-1], lines[-1].rstrip()],
    ],
)
def test_lines_cannot_be_cut_moved_or_added(office, tmp_path, change):
    office.receive("STOP")
    data, _ = export(office)
    path = tmp_path / "dossier.jsonl"
    path.write_bytes(b"".join(change(data.splitlines(keepends=True))))

    assert verify(path).returncode != 0
    assert head_of(path.read_bytes()) is None


def test_a_wholly_recomputed_forgery_is_found_by_its_head(office, tmp_path):
    office.receive("STOP")
    data, made = export(office)
    fake = forged(data, state="opted_in")
    path = tmp_path / "dossier.jsonl"
    path.write_bytes(fake)

    assert verify(path).returncode == 0  # it holds together
    assert verify(path, made.head).returncode != 0
    with office.inside():
        checked = check_dossier(fake)
        assert (checked.holds, checked.export) == (True, None)
        genuine = check_dossier(data)
        assert (genuine.holds, genuine.export) == (True, made)
        assert check_dossier(data + b" ").holds is False


def test_heads_are_never_changed(office):
    office.receive("STOP")
    export(office)
    with office.inside():
        assert refused("UPDATE dossier_exports SET head = repeat('1', 64)") == "42501"
        assert refused("DELETE FROM dossier_exports") == "42501"
        assert DossierExport.objects.count() == 1


# --- figures ----------------------------------------------------------------------------------


def test_the_speed_of_opt_outs_is_measured_from_the_receipt(office):
    office.receive("STOP")
    office.receive("STOP", theirs="+12025550177")
    with office.inside():
        opt_out(Choice(address="+12025550178", kind="opt_out", reason="by hand"))
        speed = consent_stats.speed()

        assert speed.count == 2  # nobody received the one by hand
        assert 0 <= speed.p50 <= speed.p95 <= speed.slowest < 5000
        assert sum(bar.count for bar in speed.bars) == 2
        assert len(speed.bars) == 5


def test_precision_and_recall_come_from_what_people_decided(office):
    numbers = [f"+1202555{n:04d}" for n in range(20, 30)]
    for theirs in numbers[:4]:
        office.receive("stop by tomorrow?", theirs=theirs)
    office.receive("STOP", theirs=numbers[4])
    office.receive("STOP", theirs=numbers[5])
    office.receive("hello there", theirs=numbers[6])  # and then they ask by phone
    with office.inside():
        for theirs in numbers[:3]:
            confirm_hold(theirs, actor_id=office.agent.pk)
        release_hold(numbers[3], actor_id=office.agent.pk)
        opt_out(Choice(address=numbers[6], kind="opt_out", reason="x", actor_id=office.agent.pk))
        # One who never texted us: the reader could not have seen it.
        opt_out(Choice(address=numbers[7], kind="opt_out", reason="x", actor_id=office.agent.pk))
        reader = consent_stats.reader()

    assert (reader.confirmed, reader.released, reader.decided) == (3, 1, 4)
    assert reader.precision == 0.75
    assert (reader.certain, reader.missed, reader.found) == (2, 1, 5)
    assert reader.recall == pytest.approx(5 / 6)


def test_without_decisions_there_are_no_quotients(office):
    with office.inside():
        reader = consent_stats.reader()
        assert (reader.precision, reader.recall) == (None, None)
        assert consent_stats.speed().count == 0
        assert Consent.objects.count() == OutboundMessage.objects.count() == 0
