"""Pages against strangers: hostile words, forged fields, query strings, and the policy of each."""

from __future__ import annotations

import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from leads.models import Lead
from messaging.models import Conversation
from tests.admin_world import boss, fill, tables, url
from tests.test_urls_isolation import CANARY, every_page, foreign, own

__all__ = ["foreign", "own"]

pytestmark = pytest.mark.django_db

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=alert(3)> "
    "javascript:alert(4) </script></textarea></title> {{7*7}} \u202egnp.exe \x1b[31mred"
)
ROOT = Path(settings.BASE_DIR)


class Reader(HTMLParser):
    """Collects what a strict policy forbids, and what hostile words could have become."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self._script: str | None = None

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        self.faults += [f"<{tag} {name}>" for name in names if name.startswith("on")]
        self.faults += [f"<{tag} style>" for name in names if name == "style"]
        for name in ("href", "src", "action", "formaction"):
            value = re.sub(r"[\s\x00-\x20]", "", names.get(name) or "").lower()
            if value.startswith(("javascript:", "vbscript:", "data:text")):
                self.faults.append(f"<{tag} {name}={value[:40]}>")
        if tag in ("svg", "img") and any("alert" in str(value) for value in names.values()):
            self.faults.append(f"<{tag}> of a stranger")
        if tag == "script":
            self._script = "" if "src" not in names else None
            self._is_data = names.get("type") == "application/json"
        if tag == "style":
            self.faults.append("<style>")

    def handle_data(self, data):
        if self._script is not None and data.strip() and not self._is_data:
            self.faults.append(f"<script> {data.strip()[:40]}")

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None


def faults_of(html):
    reader = Reader()
    reader.feed(html)
    return reader.faults


def test_the_reader_finds_what_it_looks_for():
    assert len(faults_of(HOSTILE)) >= 3
    assert faults_of("<p>&lt;script&gt;alert(1)</p><script src='/x.js'></script>") == []


def get_all(client, office, own):
    """Yield (address, answer) of every page of the tenant, redirects left alone."""
    for _, address in every_page(office.tenant.slug, own):
        answer = client.get(address)
        assert answer.status_code < 500, address
        yield address, answer


# --- 45: hostile words --------------------------------------------------------------------------


@pytest.fixture
def hostile(office):
    """A lead whose every word is an attack."""
    message = office.receive(HOSTILE)
    with office.inside():
        words = HOSTILE.replace("\x1b", "")
        Lead.objects.update(
            full_name=words[:200], first_name=words[:80], company=words[:200], city=words[:100]
        )
        conversation = Conversation.objects.get()
    return {
        "conv": conversation.pk,
        "message": message.pk,
        "lead_id": message.lead_id,
        "stage": conversation.stage,
        "address": message.sender,
        "anything": message.pk,
    }


def whole(answer) -> str:
    """Return an answer's text, also of one that streams."""
    parts = answer.streaming_content if answer.streaming else [answer.content]
    return b"".join(parts).decode()


def test_fault_45_words_of_strangers_are_text_on_every_page(office, hostile, own, login):
    shown = 0
    values = {**own, **hostile}
    for address, answer in get_all(login(office), office, values):
        html = whole(answer)
        if answer.streaming:  # a file to keep, not a page
            assert "attachment" in answer["Content-Disposition"], address
            continue
        assert "<script>alert" not in html, address
        if answer["Content-Type"].startswith("text/html"):
            assert faults_of(html) == [], address
        else:
            assert answer["X-Content-Type-Options"] == "nosniff", address
        shown += "alert(1)" in html
    assert shown >= 5


def test_fault_45_a_word_that_turns_the_line_around_turns_its_own_alone():
    """Blocks isolate by themselves; what is inline must say so, or a name would turn the page."""
    css = (ROOT / "static/css/app.css").read_text()

    assert re.search(r"^a, span, strong, option \{ unicode-bidi: isolate; \}$", css, re.M)
    assert "unicode-bidi" not in css.replace("unicode-bidi: isolate", "", 1)


def test_fault_45_a_header_of_a_stranger_is_text_in_the_admin(office):
    payload = office.payload("hello")
    office.client.defaults["HTTP_USER_AGENT"] = HOSTILE.replace("\x1b", "")
    answer = office.post(payload)
    assert answer.status_code == 202
    client = boss(office)
    for model in tables():
        html = client.get(url(model, "changelist")).content.decode()
        assert "<script>alert" not in html, model


# --- 46: the policy -----------------------------------------------------------------------------


def policy_of(answer):
    return {
        name: sources
        for name, _, sources in (
            part.strip().partition(" ") for part in answer["Content-Security-Policy"].split(";")
        )
    }


def test_fault_46_every_page_has_the_strict_policy_and_keeps_it(office, own, login):
    client = login(office)
    for address, answer in [
        *get_all(client, office, own),
        *((path, Client().get(path)) for path in ("/login/", "/healthz", "/readyz", "/nothing/")),
        ("/hooks/", office.post(office.payload("x"))),
        ("404", client.get(f"/t/{office.tenant.slug}/leads/x/")),
        ("forbidden", Client(enforce_csrf_checks=True).post("/login/", {})),
    ]:
        policy = policy_of(answer)
        assert policy["default-src"] == policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["object-src"] == policy["frame-ancestors"] == "'none'", address
        assert policy["base-uri"] == policy["form-action"] == "'self'", address
        assert "unsafe" not in answer["Content-Security-Policy"], address
        assert answer["X-Content-Type-Options"] == "nosniff", address
        assert answer["X-Frame-Options"] == "DENY", address
        if answer["Content-Type"].startswith("text/html") and answer.status_code == 200:
            assert faults_of(answer.content.decode()) == [], address


def test_fault_46_the_admin_has_no_inline_script_either(office):
    filled = fill(office, "OURWORD")
    client = boss(office)
    for model in tables():
        for page in (
            client.get(url(model, "changelist")),
            client.get(url(model, "change", filled.rows[model].pk)),
        ):
            policy = policy_of(page)
            assert policy["script-src"] == "'self' 'unsafe-eval'", model  # Alpine, of the theme
            assert policy["default-src"] == "'self'", model
            scripts = [one for one in faults_of(page.content.decode()) if "<script>" in one]
            assert scripts == [], model


def test_fault_46_htmx_evaluates_nothing():
    config = json.loads((ROOT / "templates/_htmx.json").read_text())

    assert (config["allowEval"], config["includeIndicatorStyles"]) == (False, False)
    assert '{% include "_htmx.json" %}' in (ROOT / "templates/base.html").read_text()


# --- 42: forged fields --------------------------------------------------------------------------


def test_fault_42_a_form_of_the_admin_takes_no_field_it_does_not_show(office, other_office):
    """Every form, with every other column of its table added: state, attempt, tenant, consent."""
    filled = fill(office, "OURWORD")
    client = boss(office)
    tried = 0
    for model in tables():
        page = client.get(url(model, "change", filled.rows[model].pk))
        form = getattr(page.context.get("adminform"), "form", None)
        if form is None or not form.fields:
            continue
        row = filled.rows[model]
        columns = [field for field in model._meta.concrete_fields if not field.primary_key]
        hidden = {field.name for field in columns} - set(form.fields)
        before = column_values(office, model, row.pk)
        forged = {name: forgery(model, name, other_office) for name in hidden}
        forged |= {f"{name}_id": value for name, value in forged.items()}
        data = {
            name: value
            for name in form.fields
            if (value := form.get_initial_for_field(form.fields[name], name)) not in (None, "")
        }
        for inline in page.context.get("inline_admin_formsets", []):
            prefix = inline.formset.prefix
            data |= {f"{prefix}-TOTAL_FORMS": 0, f"{prefix}-INITIAL_FORMS": 0}
        answer = client.post(
            url(model, "change", row.pk), {**forged, **data, "_tenant": office.tenant.pk}
        )
        assert answer.status_code < 500, model
        after = column_values(office, model, row.pk)
        changed = {name for name in hidden if before[name] != after[name]}
        assert changed <= {"updated_at"}, (model, changed)
        tried += 1
    assert tried >= 5


def column_values(office, model, pk):
    with office.inside():
        return (
            model._default_manager.filter(pk=pk).values().get()
            | {field.name: None for field in model._meta.concrete_fields if field.is_relation}
            | {
                field.name: value
                for field in model._meta.concrete_fields
                for value in [
                    model._default_manager.filter(pk=pk).values_list(field.attname).get()[0]
                ]
            }
        )


def forgery(model, name, other_office):
    field = model._meta.get_field(name)
    if name == "tenant":
        return other_office.tenant.pk
    if field.choices:
        return [value for value, _ in field.flatchoices][-1]
    return {"BooleanField": "on", "DateTimeField": "2001-01-01 00:00"}.get(
        field.get_internal_type(), "7"
    )


def test_fault_42_no_form_or_serializer_takes_all_fields():
    taken = [
        str(path.relative_to(ROOT))
        for app in [*settings.LOCAL_APPS, "config"]
        for path in (ROOT / app).rglob("*.py")
        if re.search(r"""fields\s*=\s*["']__all__["']|ALL_FIELDS""", path.read_text())
    ]

    assert taken == []


# --- 51: query strings --------------------------------------------------------------------------

NAMES = [
    "q", "page", "p", "after", "before", "cursor", "older", "newer", "o", "ot", "ordering", "sort",
    "order_by", "state", "stage", "status", "filter", "tab", "e", "all", "_popup", "_to_field",
    "since", "id", "pk", "tenant", "tenant_id", "tenant__slug", "lead__tenant__name__startswith",
    "user__password__startswith", "actor__user__email", "payload__x", "settings__secret",
    "id__in", "id__regex", "created_at__gte", "pk__in", "lookup", "format", "limit", "offset",
]  # fmt: skip
VALUES = [
    "", "x", "0", "-1", "1e9", "9" * 400, "' OR 1=1 --", "1; DROP TABLE leads", "%", "_", "\\",
    "\x00", "\ud83d", "a" * 5000, "lead_01ARZ3NDEKTSV4RRFFQ69G5FAV", "conv_", "None", "null",
    "[]", '{"$ne": 1}', "../../etc/passwd", "{{7*7}}", "2026-13-45", "(?i)(a+)+$", CANARY, "true",
    "-tenant__slug", "?", "name__regex", "\u0661\u0662", "id\x1f", "pbkdf2",
]  # fmt: skip


def test_fault_51_query_strings_are_data(office, own, foreign, login):
    chance = random.Random("query strings")
    client = login(office)
    pages = [address for _, address in every_page(office.tenant.slug, own)]
    staff = boss(office)
    lists = [url(model, "changelist") for model in tables()]
    lists.append(reverse("admin:autocomplete"))
    for browser, addresses, times in ((client, pages, 2), (staff, lists, 3)):
        for address in addresses:
            for _ in range(times):
                pairs = [
                    (chance.choice(NAMES), chance.choice(VALUES))
                    for _ in range(chance.randint(1, 5))
                ]
                query = urlencode(pairs, errors="surrogatepass")
                answer = browser.get(f"{address}?{query}")
                assert answer.status_code < 500, (address, pairs)
                shown = whole(answer)
                asked = any(CANARY in value for _, value in pairs)
                assert asked or CANARY not in shown, (address, pairs)


def test_fault_51_filters_name_their_fields():
    """No filter set takes all lookups of a model: that would be a way to ask for any column."""
    for model, its_admin in admin.site._registry.items():
        for one in its_admin.list_filter:
            assert one != "__all__", model
    code = "\n".join(
        path.read_text() for app in settings.LOCAL_APPS for path in (ROOT / app).rglob("*.py")
    )
    assert ".filter(**request" not in code
    # facts.raw and stage.raw are functions of ours that make no SQL of what a request says.
    assert not re.search(r"(?<!\bfacts)(?<!\bstage)\.raw\(|\.extra\(", code)
