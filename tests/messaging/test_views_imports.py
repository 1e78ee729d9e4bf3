"""The pages of the wizard: what each shows, who may open it, and what its buttons do."""

from __future__ import annotations

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from leads.imports import actions, hooks
from leads.imports.hooks import Estimate
from leads.models import Import, Label, Lead
from tests.leads.importing import FIXTURES, begin, checked, confirm, fresh, imported, run, table
from tests.messaging.pages import client_of, person, url

pytestmark = pytest.mark.django_db

HEADER = "name,phone,email"
JANE = "Jane Doe,2025550143,jane@example.com"


@pytest.fixture
def operator(office):
    return person(office, role="operator", name="Olga Operator")[1]


def page(client, office, one, step):
    return client.get(url(office, f"imports/{one.pk}/{step}/"))


def post(client, office, one, step, **values):
    return client.post(url(office, f"imports/{one.pk}/{step}/"), values)


def upload(client, office, data, name="list.csv"):
    return client.post(url(office, "imports/new/"), {"file": SimpleUploadedFile(name, data)})


def text(answer):
    return answer.content.decode()


def test_a_file_goes_through_all_steps(office, operator):
    answer = upload(operator, office, table("Wer,Fon,Mail", JANE, "Bad,12,x"))
    with office.inside():
        one = Import.objects.get()
    assert answer["Location"] == url(office, f"imports/{one.pk}/map/")

    html = text(page(operator, office, one, "map"))
    assert re.search(r'<li class="steps__one" aria-current="step"><span>Map</span>', html)
    given = {"target-0": "full_name", "target-1": "phone1"}
    html = text(post(operator, office, one, "map", do="preview", **given))
    assert "+12025550143" in html  # how it is read
    answer = post(operator, office, one, "map", do="check", **given)
    assert answer["Location"] == url(office, f"imports/{one.pk}/check/")
    assert 'hx-trigger="every 1s"' in text(page(operator, office, one, "check"))

    one = run(office, one)
    html = text(page(operator, office, one, "check"))
    assert "E-mail 1 is no e-mail address; Phone 1 has 2 digits" in html or (
        "Phone 1 has 2 digits; E-mail 1 is no e-mail address" in html
    )
    assert 'id="n-created">1<' in html
    html = text(page(operator, office, one, "confirm"))
    assert "Import 1 row" in html
    assert "It costs nothing" in html
    post(operator, office, one, "confirm", do="confirm", label="Fair")

    one = run(office, one)
    html = text(page(operator, office, one, "result"))
    assert "Imported" in html
    assert "Reject file" in html
    with office.inside():
        assert Lead.objects.get().full_name == "Jane Doe"
        assert Label.objects.get(kind="tag").name == "Fair"

    post(operator, office, one, "result", do="undo", reason="wrong list")
    one = run(office, one)
    assert "1 lead taken back" in text(page(operator, office, one, "result"))


def test_a_file_with_a_known_header_goes_straight_to_the_check(office, operator):
    answer = upload(operator, office, (FIXTURES / "lead-lab-template.csv").read_bytes())

    assert answer["Location"].endswith("/check/")
    with office.inside():
        assert Import.objects.get().state == "checking"


def test_a_preview_changes_nothing_and_shows_the_new_choice(office, operator):
    one = begin(office, table("Who,Fon", "Jane Doe,2025550143"))

    html = text(post(operator, office, one, "map", **{"do": "preview", "target-0": "last_name"}))

    assert re.search(r'<option value="last_name" selected>', html)
    assert fresh(office, one).mapping[0]["target"] == "raw.who"


def test_a_mapping_that_makes_no_sense_is_told_and_kept_on_the_page(office, operator):
    one = begin(office, table("Who,Fon", "Jane Doe,2025550143"))

    answer = post(operator, office, one, "map", **{"do": "check", "target-0": "phone1"})

    assert answer.status_code == 422
    assert "are both Phone 1" in text(answer)
    for target in ("raw.x'--", "nothing", "\0", "x" * 5000):
        answer = post(operator, office, one, "map", **{"do": "check", "target-0": target})
        assert answer.status_code == 422, target


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"PK\x03\x04xx", "Excel"), (b"a,b\n", "no rows"), (None, "Choose a file")],
)
def test_a_bad_file_is_told_with_the_reason(office, operator, data, words):
    answer = (
        operator.post(url(office, "imports/new/"))
        if data is None
        else upload(operator, office, data)
    )

    assert answer.status_code == 422
    assert words in text(answer)
    with office.inside():
        assert not Import.objects.exists()


def test_a_file_that_is_too_large_is_refused_in_words(office, operator, settings):
    settings.UPLOAD_MB = 1

    answer = upload(operator, office, b"name,phone\n" + b"Ann,2025550143\n" * 100_000)

    assert answer.status_code == 422
    assert "larger than 1 MB" in text(answer)
    assert upload(operator, office, table(HEADER, JANE)).status_code == 302


def test_a_large_file_comes_in_by_stream(office, operator):
    rows = b"".join(b"Ann Lee%d,%d,a%d@x.com\n" % (n, 2025550000 + n, n) for n in range(120_000))

    answer = upload(operator, office, HEADER.encode() + b"\n" + rows)

    assert answer.status_code == 302
    with office.inside():
        one = Import.objects.get()
        assert one.parts.count() == 5
        assert one.size == len(HEADER) + 1 + len(rows)


def test_warnings_must_be_accepted_before_the_button_works(office, operator):
    one = checked(office, table("phone", *(f"+1202555{n:04d}" for n in range(250))))

    html = text(page(operator, office, one, "confirm"))
    assert "follow one another" in html
    assert re.search(r'value="confirm" disabled', html)
    answer = post(operator, office, one, "confirm", do="confirm")
    assert answer.status_code == 422

    post(operator, office, one, "check", do="accept")
    html = text(page(operator, office, one, "confirm"))
    assert "Accepted by Olga Operator" in html
    assert post(operator, office, one, "confirm", do="confirm").status_code == 302


def test_rows_are_kept_without_a_bad_value_by_one_button(office, operator):
    one = checked(office, table(HEADER, JANE, "Joe Roe,12,joe@example.com"))

    assert "Drop the value, keep the row" in text(page(operator, office, one, "check"))
    post(operator, office, one, "check", do="drop", problem="Phone 1 has 2 digits")
    one = run(office, one)

    html = text(page(operator, office, one, "check"))
    assert 'id="n-created">2<' in html
    assert "their rows kept: Phone 1" in html
    answer = post(operator, office, one, "check", do="drop", problem="nonsense")
    assert answer.status_code == 422


def test_the_same_file_is_named_and_says_that_nothing_changed(office, operator):
    data = table(HEADER, JANE)
    imported(office, data, name="first.csv")
    one = checked(office, data, name="again.csv")

    html = text(page(operator, office, one, "check"))
    assert "This file was imported" in html
    assert "first.csv" in html
    one = confirm(office, one)
    assert "Nothing changed" in text(page(operator, office, one, "result"))


def test_a_price_is_shown_where_somebody_knows_one(office, operator, monkeypatch):
    one = checked(office, table(HEADER, JANE))
    monkeypatch.setattr(
        hooks, "_estimators", [lambda _: Estimate(most_cents=50, words="$0.50, cap $150 today")]
    )

    html = text(page(operator, office, one, "confirm"))

    assert "$0.50, cap $150 today" in html
    post(operator, office, one, "confirm", do="confirm", enrich="on")
    assert fresh(office, one).options["enrich"] is True


def test_each_state_leads_to_its_own_step(office, operator):
    one = begin(office, table(HEADER, JANE))
    for step in ("check", "confirm", "result"):
        assert page(operator, office, one, step)["Location"].endswith("/map/")
    assert operator.get(url(office, f"imports/{one.pk}/"))["Location"].endswith("/map/")
    one = imported(office, table(HEADER, "Joe Roe,2025550144,"))
    assert page(operator, office, one, "map")["Location"].endswith("/result/")
    assert page(operator, office, one, "nonsense").status_code == 404


def test_the_progress_asks_again_while_it_moves_and_then_loads_the_page(office, operator):
    one = begin(office, table(HEADER, JANE))
    with office.inside():
        actions.check(one.pk)

    address = url(office, f"imports/{one.pk}/progress/part/")
    moving = operator.get(address)
    assert 'hx-trigger="every 1s"' in text(moving)
    assert "HX-Refresh" not in moving
    run(office, one)
    assert operator.get(address)["HX-Refresh"] == "true"


def test_agents_look_and_operators_import(office, operator):
    one = checked(office, table(HEADER, JANE))
    agent = client_of(office.agent)

    assert agent.get(url(office, "imports/")).status_code == 200
    assert "Import a file" not in text(agent.get(url(office, "imports/")))
    for path in ("imports/new/", f"imports/{one.pk}/check/", f"imports/{one.pk}/rejects/"):
        assert agent.get(url(office, path)).status_code == 403
    assert (
        agent.post(url(office, f"imports/{one.pk}/confirm/"), {"do": "confirm"}).status_code == 403
    )
    assert fresh(office, one).state == "checked"


def test_the_list_goes_on_page_by_page_and_hides_what_was_discarded(office, operator):
    with office.inside():
        for number in range(55):
            Import.objects.create(name=f"file {number:02d}.csv", state="uploaded")
        Import.objects.create(name="gone.csv", state="discarded")

    first = text(operator.get(url(office, "imports/")))
    after = re.search(r"after=(import_\w+)", first)[1]
    second = text(operator.get(url(office, "imports/"), {"after": after}))

    names = re.findall(r"file \d\d", first) + re.findall(r"file \d\d", second)
    assert len(set(names)) == 55
    assert "gone.csv" not in first + second
    assert operator.get(url(office, "imports/"), {"after": "x"}).status_code == 404


def test_an_empty_list_names_the_next_step(office, operator):
    html = text(operator.get(url(office, "imports/")))

    assert "Nothing was imported yet." in html
    assert url(office, "imports/new/") in html
    template = operator.get(url(office, "imports/template.csv"))
    assert text(template).startswith("first_name,last_name")
    assert upload(operator, office, template.content + b"Jane,Doe,,2025550143\n").status_code == 302


def test_a_discarded_file_leaves_its_name_alone(office, operator):
    one = begin(office, table(HEADER, JANE))

    answer = post(operator, office, one, "map", do="discard")

    assert answer["Location"] == url(office, "imports/")
    assert fresh(office, one).state == "discarded"
    assert post(operator, office, one, "result", do="nonsense").status_code == 422
