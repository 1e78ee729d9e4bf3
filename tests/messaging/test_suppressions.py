"""Suppression lists: any file, checked first, applied in steps, taken back without deleting."""

from __future__ import annotations

import codecs
import csv
import io
from contextlib import suppress
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from leads.actions import Choice, record_choice
from leads.models import Consent, ConsentEvent
from messaging import registry
from messaging.actions import suppressions
from messaging.actions.consent import opt_in
from messaging.actions.erasure import erase_address
from messaging.actions.sending import SendRefused
from messaging.actions.suppressions import (
    ListRefused,
    advance,
    apply_list,
    check_file,
    discard,
    problems_of,
    stop,
    undo,
)
from messaging.consent_loop import ConsentLoop
from messaging.models import ConsentEffect, OutboundMessage, SuppressionList
from messaging.suppression_files import UnreadableFile, read_addresses
from pipelines.models import PipelineRun
from tests.conftest import OURS, THEIRS
from tests.leads.test_registry import block
from tests.raw import at_once, rows

ONE, TWO, THREE = "+12025550111", "+12025550112", "+12025550113"


def read(data, channel="sms"):
    layout, found = read_addresses(io.BytesIO(data), channel=channel)
    return layout, list(found)


def check(office, text, **more):
    values = {"name": "DNC", "source": "registry", "reason": "by law", **more}
    with office.inside():
        return check_file(io.BytesIO(text.encode()), **values)


def run(office):
    while advance(office.tenant.pk):
        pass


def applied(office, text, **more):
    made = check(office, text, **more)
    with office.inside():
        apply_list(made.pk, actor_id=office.agent.pk)
    run(office)
    with office.inside():
        return SuppressionList.objects.get(pk=made.pk)


# --- files ------------------------------------------------------------------------------------

BODY = "name;phone\nJosé;(202) 555-0111\nZoë;202-555-0112\n"


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (BODY.encode(), "utf-8"),
        (codecs.BOM_UTF8 + BODY.encode(), "utf-8-sig"),
        (BODY.encode("utf-16"), "utf-16"),
        (BODY.encode("utf-16-be"), "utf-16-be"),
        (BODY.encode("utf-16-le"), "utf-16-le"),
        (BODY.encode("cp1252"), "cp1252"),
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_every_encoding_and_separator(data, encoding, separator):
    name = "utf-16-le" if encoding == "utf-16" else encoding
    mark, swap = ";".encode(name.removesuffix("-sig")), separator.encode(name.removesuffix("-sig"))

    layout, found = read(data.replace(mark, swap))

    assert (layout.encoding, layout.separator, layout.column) == (encoding, separator, 1)
    assert layout.has_header
    assert [(row.line, row.address) for row in found] == [(2, ONE), (3, TWO)]


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("2025550111\n2025550112", [ONE, TWO]),
        ("phone\r\n+1 202 555 0111\r\n\r\n'2025550112\r\n", [ONE, TWO]),
        ('id,who,mobile\n1,"Ann, Bea",2025550111\n2,"line\nbreak",2025550112\n', [ONE, TWO]),
        ("12345,2025550111\n12346,2025550112\n", [ONE, TWO]),
        ("2025550111.0\n", [ONE]),
    ],
)
def test_files_as_people_have_them(text, addresses):
    assert [row.address for row in read(text.encode())[1]] == addresses


def test_what_is_no_number_says_so_with_its_line():
    _, found = read(b"phone,x\n2025550111,a\n12345,b\nhello,c\n,d\n0042,e\n")

    assert [(row.line, row.raw, row.problem) for row in found[1:]] == [
        (3, "12345", "this is no phone number with its area code"),
        (4, "hello", "this is no phone number with its area code"),
        (5, "", "the column is empty"),
        (6, "0042", "this is no phone number with its area code"),
    ]


@pytest.mark.parametrize("data", [b"", b"  \n", b"\x89PNG\x00\x01", b"a,b\nc,d\n"])
def test_what_is_no_list_is_refused(data):
    with pytest.raises(UnreadableFile):
        read(data)


def test_a_quote_that_never_ends_is_told_with_its_line():
    with pytest.raises(UnreadableFile, match="Line"):
        read(b"2025550111\n" * 60 + b'"' + b"x" * 200_000)


def test_lists_of_mail_addresses():
    _, found = read(b"email\nAnn@Example.com\nnobody\n", channel="email")

    assert [(row.address, bool(row.problem)) for row in found] == [
        ("ann@example.com", False),
        ("", True),
    ]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_no_file_breaks_the_reader(data):
    with suppress(UnreadableFile):
        read(data)


# --- dry run ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_check_counts_and_blocks_nobody(office):
    with office.inside():
        record_choice(Choice(address=TWO, kind="opt_out"))

    made = check(office, f"phone\n{ONE}\n{TWO}\n{ONE}\nhello\n")

    assert (made.total, made.fresh, made.known, made.duplicates, made.invalid) == (4, 1, 1, 1, 1)
    with office.inside():
        assert problems_of(made) == [
            (4, ONE, "the same as line 2"),
            (5, "hello", "this is no phone number with its area code"),
        ]
        assert block(address=ONE) is None
        assert Consent.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "},
        {"source": ""},
        {"reason": ""},
        {"expires_at": timezone.now() - timedelta(days=1)},
    ],
)
def test_a_list_says_what_it_is(office, wrong):
    with pytest.raises(ListRefused):
        check(office, f"{ONE}\n", **wrong)


# --- applying ---------------------------------------------------------------------------------


@pytest.mark.django_db
def test_applying_blocks_everybody_in_it_with_an_event_each(office):
    until = timezone.now() + timedelta(days=30)
    made = applied(office, f"{ONE}\n{TWO}\n", expires_at=until, actor_id=office.agent.pk)

    assert (made.state, made.done) == ("applied", 2)
    with office.inside():
        assert block(address=ONE) == block(address=TWO) == "opted_out"
        row = Consent.objects.get(address=ONE, scope=made.scope)
        assert (row.state, row.rev, row.source) == ("opted_out", 1, "registry")
        assert abs(row.expires_at - until) < timedelta(milliseconds=2)
        event = ConsentEvent.objects.get(consent=row)
        assert (event.reason, event.actor_id) == ("by law", office.agent.pk)
        assert Consent.objects.get(address=ONE, scope="").state == "unknown"
        found = PipelineRun.objects.get()
        assert (found.status, found.stats["done"]) == ("completed", 2)
        # Only what was not taken is kept of the file.
        assert rows("SELECT count(*) FROM suppression_rows")[0][0] == 0


@pytest.mark.django_db
def test_queued_texts_stop_and_the_stop_is_kept(desk, queue, carrier):
    outbound = queue(desk, "hello", theirs=ONE)
    made = applied(desk, f"{ONE}\n{TWO}\n")

    with desk.inside():
        assert OutboundMessage.objects.get(pk=outbound.pk).state == "suppressed"
        effect = ConsentEffect.objects.get()
        assert (effect.kind, effect.subject) == ("text_cancelled", outbound.pk)
        assert effect.consent_event.consent.scope == made.scope
    assert made.stopped == 1
    with pytest.raises(SendRefused, match="opted out"):
        queue(desk, "again", theirs=ONE)


@pytest.mark.django_db
def test_a_start_changes_nothing_about_a_list(office):
    applied(office, f"{ONE}\n")
    with office.inside():
        opt_in(Choice(address=ONE, kind="opt_in", source="texting", position=5))

        assert block(address=ONE) == "opted_out"


@pytest.mark.django_db
def test_it_goes_step_by_step_and_can_be_stopped_and_go_on(office, monkeypatch):
    monkeypatch.setattr(suppressions, "CHUNK", 2)
    made = check(office, "".join(f"+1202555{n:04d}\n" for n in range(5)))
    with office.inside():
        apply_list(made.pk, actor_id=None)
    assert advance(office.tenant.pk) == 2

    with office.inside():
        half = stop(made.pk, actor_id=None)
        assert (half.state, half.done) == ("paused", 2)
        assert Consent.objects.filter(scope=made.scope).count() == 2
        assert PipelineRun.objects.get().status == "cancelled"
    assert advance(office.tenant.pk) == 0

    with office.inside():
        apply_list(made.pk, actor_id=None)
    run(office)

    with office.inside():
        assert Consent.objects.filter(scope=made.scope).count() == 5
        assert SuppressionList.objects.get().done == 5
        assert set(PipelineRun.objects.values_list("status", flat=True)) == {
            "cancelled",
            "completed",
        }


@pytest.mark.django_db
def test_applying_twice_is_refused_and_repeats_nothing(office):
    made = applied(office, f"{ONE}\n")
    with office.inside():
        for wrong in (apply_list, stop, discard):
            with pytest.raises(ListRefused):
                wrong(made.pk, actor_id=None)
        assert ConsentEvent.objects.count() == 1


@pytest.mark.django_db
def test_undo_releases_each_and_deletes_none(office):
    with office.inside():
        record_choice(Choice(address=TWO, kind="opt_out"))
    made = applied(office, f"{ONE}\n{TWO}\n")
    with office.inside(), pytest.raises(ListRefused):
        undo(made.pk, reason=" ", actor_id=None)
    with office.inside():
        undo(made.pk, reason="wrong file", actor_id=office.agent.pk)
    run(office)

    with office.inside():
        assert SuppressionList.objects.get().state == "undone"
        assert block(address=ONE) is None
        assert block(address=TWO) == "opted_out"  # their own choice stays
        kinds = ConsentEvent.objects.filter(consent__scope=made.scope).order_by("id")
        assert list(kinds.values_list("kind", flat=True)) == ["opt_out"] * 2 + ["release"] * 2
        assert set(Consent.objects.filter(scope=made.scope).values_list("rev", flat=True)) == {2}


@pytest.mark.django_db
def test_a_checked_list_can_be_thrown_away(office):
    made = check(office, f"{ONE}\n")
    with office.inside():
        discard(made.pk, actor_id=None)
        assert SuppressionList.objects.get().state == "discarded"
        assert rows("SELECT count(*) FROM suppression_rows")[0][0] == 0
        with pytest.raises(ListRefused):
            apply_list(made.pk, actor_id=None)


@pytest.mark.django_db
def test_erased_people_in_a_list_stay_erased(office):
    with office.inside():
        record_choice(Choice(address=ONE, kind="opt_in"))
        erase_address(ONE, reason="asked for it", actor_id=None)
        made = check_file(io.BytesIO(f"{ONE}\n{TWO}\n".encode()), name="x", source="x", reason="x")
        apply_list(made.pk, actor_id=None)
    run(office)

    with office.inside():
        assert not Consent.objects.filter(address=ONE).exists()
        assert block(address=ONE) == "opted_out"
        assert block(address=TWO) == "opted_out"


@pytest.mark.django_db
def test_a_list_of_one_tenant_blocks_no_other(office, other_office):
    applied(office, f"{ONE}\n")
    with other_office.inside():
        assert block(address=ONE) is None
        assert not Consent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_loop_of_the_worker_does_it(committed_office):
    made = check(committed_office, f"{ONE}\n")
    with committed_office.inside():
        apply_list(made.pk, actor_id=None)

    loop = ConsentLoop()
    while loop.step():
        pass

    with committed_office.inside():
        assert SuppressionList.objects.get().state == "applied"


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_one_list_enter_everybody_once(committed_office, monkeypatch):
    office = committed_office
    monkeypatch.setattr(suppressions, "CHUNK", 7)
    made = check(office, "".join(f"+1202555{n:04d}\n" for n in range(100)))
    with office.inside():
        apply_list(made.pk, actor_id=None)

    def work():
        for _ in range(200):
            advance(office.tenant.pk)

    assert at_once([work, work]) == [None, None]
    with office.inside():
        found = SuppressionList.objects.get()
        assert (found.state, found.done) == ("applied", 100)
        assert ConsentEvent.objects.filter(consent__scope=made.scope).count() == 100


# --- the command ------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_command_checks_and_applies(office, tmp_path, capsys):
    path = tmp_path / "dnc.csv"
    path.write_text(f"phone\n{ONE}\nhello\n")
    words = ["import_suppressions", office.tenant.slug, str(path), "--source=x", "--reason=y"]

    call_command(*words)
    assert "1 new" in (said := capsys.readouterr().out)
    assert "line 3: 'hello'" in said
    assert "Nothing was blocked" in said
    with office.inside():
        assert block(address=ONE) is None

    call_command(*words, "--apply", "--last-day=2031-01-01")
    assert "1 addresses are blocked" in capsys.readouterr().out
    with office.inside():
        assert block(address=ONE) == "opted_out"
        assert Consent.objects.get(state="opted_out").expires_at.year == 2031


@pytest.mark.django_db
def test_the_command_says_what_is_wrong(office, tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    for tenant, path, more in (
        ("nobody", empty, []),
        (office.tenant.slug, empty, []),
        (office.tenant.slug, tmp_path / "none.csv", []),
        (office.tenant.slug, empty, ["--last-day=soon"]),
    ):
        with pytest.raises(CommandError):
            call_command(
                "import_suppressions", tenant, str(path), "--source=x", "--reason=y", *more
            )


# --- export -----------------------------------------------------------------------------------


def exported(office, **filters):
    data = b"".join(registry.export_rows(office.tenant.pk, registry.read_filters(filters)))
    return list(csv.DictReader(io.StringIO(data.decode())))


@pytest.mark.django_db
def test_the_export_has_what_the_filters_say(office):
    with office.inside():
        record_choice(Choice(address=ONE, kind="opt_out", reason="asked"))
        record_choice(Choice(address=TWO, kind="opt_in"))
        record_choice(Choice(address="a@example.com", kind="opt_out", channel="email"))
    applied(office, f"{THREE}\n")

    assert {row["address"] for row in exported(office)} == {ONE, TWO, THREE, "a@example.com"}
    assert [row["address"] for row in exported(office, state="opted_in")] == [TWO]
    assert [row["address"] for row in exported(office, channel="email")] == ["a@example.com"]
    assert [row["address"] for row in exported(office, scope="list")] == [THREE]
    assert [row["address"] for row in exported(office, q="0111")] == [ONE]
    assert exported(office, since="2031-01-01") == []


@pytest.mark.django_db
def test_no_cell_of_the_export_is_a_formula(office, other_office):
    evil = ["=1+1", "+1+1", "-2", "@SUM(A1)", "\tx", "\rx", "+12025550199x", f"{OURS}"]
    with office.inside():
        for number, reason in enumerate(evil):
            record_choice(Choice(address=f"+1202555{number:04d}", kind="opt_out", reason=reason))
    with other_office.inside():
        record_choice(Choice(address=THEIRS, kind="opt_out"))

    found = exported(office)

    assert {row["reason"] for row in found} == {f"'{word}" for word in evil[:-1]} | {OURS}
    assert all(row["address"].startswith("+1202555") for row in found)
    assert [registry.plain(word) for word in evil] == [f"'{w}" for w in evil[:-1]] + [OURS]
