"""The list of leads: filters, pages by key, what it costs, saved lists, acting on many."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from leads.actions import Choice, add_contact_point, put_label, record_choice
from leads.models import (
    ContactPoint,
    Label,
    Lead,
    LeadEvent,
    LeadLabel,
    LeadScore,
    MergeReview,
    SavedView,
)
from pipelines.models import PipelineRun
from tenants.models import AuditEntry
from tests.messaging.pages import client_of, person, queries, url
from tests.raw import connected

pytestmark = pytest.mark.django_db

#: Queries of the list, whatever is in it.
MOST_QUERIES = 12


@pytest.fixture
def agent(office):
    return client_of(office.agent)


@pytest.fixture
def operator(office):
    return person(office, role="operator")


def page(client, office, **query):
    answer = client.get(url(office, "leads/"), query)
    assert answer.status_code == 200, answer.status_code
    return answer


def names(answer):
    """Names of the rows of a list, in their order."""
    return re.findall(
        r'<a class="table__strong" id="lead_\w+"[^>]*>([^<]+)</a>', answer.content.decode()
    )


def many(office, count, *, start=0, **fields):
    """Write leads with a number, a score and a label each, in one go."""
    with office.inside():
        leads = Lead.objects.bulk_create(
            Lead(full_name=f"Lead {n:05d}", **fields) for n in range(start, start + count)
        )
        LeadEvent.objects.bulk_create(
            LeadEvent(lead=lead, seq=0, kind="created", to_state="new") for lead in leads
        )
        ContactPoint.objects.bulk_create(
            ContactPoint(lead=lead, kind="phone", normalized=f"+1202{n:07d}", is_primary=True)
            for n, lead in enumerate(leads, start)
        )
        scores = [(n % 11) * 10 for n in range(start, start + count)]
        LeadScore.objects.bulk_create(
            LeadScore(
                lead=lead,
                score=score,
                band="contactable" if score >= 60 else "enriched" if score >= 40 else "low",
                email=min(score, 40),
                phone=min(max(score - 40, 0), 30),
                parcel=min(max(score - 70, 0), 10),
                occupied=min(max(score - 80, 0), 10),
                demographics=min(max(score - 90, 0), 10),
                rule_version=1,
            )
            for lead, score in zip(leads, scores, strict=True)
        )
        label, _ = Label.objects.get_or_create(key="gold", defaults={"name": "GOLD"})
        LeadLabel.objects.bulk_create(LeadLabel(lead=lead, label=label) for lead in leads)
    return leads


# --- filters ------------------------------------------------------------------------------------


@pytest.fixture
def mixed(office):
    """Two leads that differ in everything a filter may ask."""
    run_id = None
    with office.inside():
        run_id = PipelineRun.objects.create(pipeline_name="import").pk
    yes = office.lead(
        "+12025550101",
        phone_line_type="mobile",
        full_name="Yes Person",
        source="batchdata",
        city="Austin",
        region="TX",
        postal_code="78701",
        owner_occupied=True,
        estimated_equity=250_000,
        property_value=400_000,
        run_id=run_id,
        assigned_agent=office.agent,
        last_seen_at=timezone.now(),
        last_attempt_at=timezone.now(),
        stage="nudger",
    )
    no = office.lead("", full_name="No Person", source="upload", city="Boston", region="MA")
    with office.inside():
        add_contact_point(yes.pk, kind="email", value="yes@example.com", source="x")
        put_label(yes.pk, key="GOLD", source="x")
        LeadScore.objects.create(
            lead=yes, score=70, band="contactable", email=40, phone=30, rule_version=1
        )
        LeadScore.objects.create(lead=no, score=10, band="low", parcel=10, rule_version=1)
        record_choice(Choice(address="+12025550101", kind="opt_out"))
    return {"yes": yes, "no": no, "run": run_id}


def test_each_filter_tells_the_two_apart(office, operator, mixed):
    today = timezone.now().date().isoformat()
    tomorrow = (timezone.now() + timedelta(days=2)).date().isoformat()
    asked = {
        "stage": ("nudger", "initial_message"),
        "band": ("contactable", "low"),
        "score_min": ("60", None),
        "score_max": (None, "20"),
        "source": ("batchdata", "upload"),
        "label": ("gold", None),
        "agent": (office.agent.pk, None),
        "unassigned": ("no", "yes"),
        "city": ("AUSTIN", "boston"),
        "region": ("tx", "MA"),
        "zip": ("787", None),
        "has_phone": ("yes", "no"),
        "has_mobile": ("yes", "no"),
        "has_email": ("yes", "no"),
        "owner_occupied": ("yes", "unknown"),
        "equity_min": ("200000", None),
        "value_max": ("500000", None),
        "seen_from": (today, None),
        "run": (mixed["run"], None),
        "suppressed": ("yes", "no"),
        "not_contacted_since": (None, today),
        "q": ("yes@example.com", "no per"),
    }
    for name, (of_yes, of_no) in asked.items():
        for value, wanted in ((of_yes, "Yes Person"), (of_no, "No Person")):
            if value is not None:
                assert names(page(operator[1], office, **{name: value})) == [wanted], (name, value)
    assert len(names(page(operator[1], office, created_from=today, created_to=tomorrow))) == 2
    assert names(page(operator[1], office, created_from=tomorrow)) == []
    assert names(page(operator[1], office, state=["new", "touched"])) == ["No Person", "Yes Person"]
    assert names(page(operator[1], office, duplicates="yes")) == []


def test_open_duplicates_are_found_from_both_sides(office, agent, mixed):
    with office.inside():
        left, right = sorted([mixed["yes"], mixed["no"]], key=lambda lead: lead.pk)
        MergeReview.objects.create(left=left, right=right, score=80, source="finder")

    assert len(names(page(agent, office, duplicates="yes"))) == 2
    assert names(page(agent, office, duplicates="no")) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score_min", "x"),
        ("score_min", "1000"),
        ("score_min", "NaN"),
        ("equity_min", "9" * 40),
        ("created_from", "yesterday"),
        ("created_from", "0001-01-01"),
        ("created_to", "9999-12-31"),
        ("agent", "lead_01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("run", "' OR 1=1"),
        ("band", "nobody"),
        ("state", "x"),
        ("has_phone", "maybe"),
        ("city", "a\x00b"),
    ],
)
def test_a_filter_that_makes_no_sense_says_so_and_lists_nothing(office, agent, mixed, name, value):
    answer = page(agent, office, **{name: value})

    assert names(answer) == []
    assert "A filter makes no sense." in answer.content.decode()
    assert 'role="alert"' in answer.content.decode()


def test_the_count_stops_at_a_thousand(office, agent):
    many(office, 1200)

    whole = agent.get(url(office, "lists/count/part/")).content.decode()
    few = agent.get(url(office, "lists/count/part/"), {"band": "low"}).content.decode()

    assert whole.strip() == "over 1,000 leads"
    assert re.fullmatch(r"\d{3} leads", few.strip())


# --- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [{}, {"band": "contactable", "sort": "score"}])
def test_pages_meet_every_lead_once_there_and_back(office, agent, query):
    many(office, 130)
    seen, address, pages = [], dict(query), 0
    while True:
        answer = page(agent, office, **address)
        seen.append(names(answer))
        older = re.search(r'after=([\w.]+)" rel="next"', answer.content.decode())
        if older is None:
            break
        address, pages = {**query, "after": older[1]}, pages + 1
    flat = [name for rows in seen for name in rows]
    newer = re.search(r'before=([\w.]+)" rel="prev"', answer.content.decode())
    back = names(page(agent, office, **{**query, "before": newer[1]}))

    assert len(flat) == len(set(flat)) == (130 if not query else 58)
    assert pages == (2 if not query else 1)
    assert back == seen[-2]


def test_the_best_come_first_and_only_within_a_band(office, agent):
    many(office, 40)
    html = page(agent, office, band="contactable", sort="score").content.decode()
    scores = [int(text) for text in re.findall(r'<span class="num">(\d+)</span>', html)]

    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 100
    assert names(page(agent, office, sort="score"))[0] == "Lead 00039"


@pytest.mark.parametrize(
    "place", ["x", "lead_", "200.lead_01ARZ3NDEKTSV4RRFFQ69G5FAV", "\x00", "10.x"]
)
def test_a_place_that_does_not_exist_is_a_404(office, agent, place):
    assert agent.get(url(office, "leads/"), {"after": place}).status_code == 404
    sorted_by_score = {"after": place, "band": "low", "sort": "score"}
    assert agent.get(url(office, "leads/"), sorted_by_score).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"band": "contactable", "sort": "score"},
        {"label": "gold", "has_phone": "yes", "suppressed": "no"},
        {"q": "lead 000"},
    ],
)
def test_the_list_costs_the_same_at_ten_and_at_a_thousand(office, agent, query):
    many(office, 10)
    with queries() as few:
        page(agent, office, **query)
    many(office, 990, start=10)
    with queries() as lots:
        page(agent, office, **query)

    assert len(few) == len(lots) <= MOST_QUERIES, lots
    for statement in lots:
        if "FROM stages s" not in statement:  # the counters of the rail, capped
            assert not re.search(r"COUNT\(\*\)|OFFSET|DISTINCT", statement, re.I), statement


@pytest.mark.django_db(transaction=True)
def test_no_list_reads_a_whole_table(committed_office):
    office, agent = committed_office, client_of(committed_office.agent)
    many(office, 4000)
    many(office, 20, start=5000, city="Rare")
    with connected(as_owner=True) as own:
        own.execute("ANALYZE leads, contact_points, lead_scores, lead_labels")
        own.commit()
    asked = (
        {},
        {"band": "contactable"},
        {"band": "contactable", "sort": "score"},
        {"has_phone": "yes"},
        {"has_mobile": "no", "has_email": "no"},
        {"label": "gold"},
        {"suppressed": "no"},
        {"duplicates": "no"},
        {"q": "lead 0004"},
        {"q": "0042"},
    )
    for query in asked:
        with queries() as sent:
            page(agent, office, **query)
        lists = [sql for sql in sent if sql.startswith("SELECT") and '"leads"."full_name"' in sql]
        assert len(lists) == 1, query
        with office.inside(), connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {lists[0]}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert not re.search(r"Seq Scan on (leads|contact_points)\b", plan), (query, plan)


# --- saved lists --------------------------------------------------------------------------------


def save(client, office, **values):
    return client.post(url(office, "lists/views/save/"), values)


def test_a_saved_list_is_opened_renamed_and_forgotten(office, agent, mixed):
    answer = save(agent, office, name="Texans", query="region=TX&after=x&csrfmiddlewaretoken=y")
    with office.inside():
        view = SavedView.objects.get()
    listed = agent.get(agent.get(answer.url).url)

    assert view.query == {"region": ["TX"]}
    assert names(listed) == ["Yes Person"]
    assert "Texans" in listed.content.decode()
    change = url(office, f"lists/views/{view.pk}/change/")
    agent.post(change, {"do": "rename", "name": "Lone stars"})
    with office.inside():
        assert SavedView.objects.get().name == "Lone stars"
    agent.post(change, {"do": "delete"})
    with office.inside():
        assert not SavedView.objects.exists()
        actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert actions >= {"savedview.saved", "savedview.renamed", "savedview.deleted"}


def test_own_lists_are_nobody_elses_and_shared_ones_need_a_role(office, agent, operator):
    colleague, other = person(office, name="Erin Else")
    save(agent, office, name="Mine", query="region=TX")
    assert save(agent, office, name="All", query="region=TX", shared="on").status_code == 403
    save(operator[1], office, name="All", query="region=MA", shared="on")
    with office.inside():
        mine, shared = SavedView.objects.get(name="Mine"), SavedView.objects.get(name="All")

    seen = page(other, office).content.decode()
    assert "All" in seen
    assert "Mine" not in seen
    assert other.get(url(office, f"lists/views/{mine.pk}/")).status_code == 404
    assert (
        other.post(url(office, f"lists/views/{mine.pk}/change/"), {"do": "delete"}).status_code
        == 404
    )
    refused = other.post(url(office, f"lists/views/{shared.pk}/change/"), {"do": "delete"})
    assert refused.status_code == 403
    with office.inside():
        assert SavedView.objects.count() == 2
        assert colleague.pk != mine.actor_id


def test_the_same_name_replaces_and_no_name_is_refused(office, agent):
    save(agent, office, name="One", query="region=TX")
    save(agent, office, name=" One ", query="region=MA")
    told = save(agent, office, name="  ", query="region=MA")

    assert "Give the list a name." in agent.get(told.url).content.decode()
    with office.inside():
        assert SavedView.objects.get().query == {"region": ["MA"]}


# --- acting on many -----------------------------------------------------------------------------


def selection_of(answer):
    return re.search(r'name="selection" value="([^"]+)"', answer.content.decode())[1]


def test_ticked_leads_are_labelled_and_no_other(office, agent):
    leads = many(office, 5)
    chosen = agent.post(
        url(office, "lists/selected/"), {"lead": [leads[0].pk, leads[1].pk, leads[1].pk]}
    )
    assert "2 leads" in chosen.content.decode()

    form = {"do": "label", "name": "Hot now", "kind": "tag", "selection": selection_of(chosen)}
    told = agent.post(url(office, "lists/act/"), form, follow=True)

    assert "2 leads got the tag." in told.content.decode()
    with office.inside():
        bearing = LeadLabel.objects.filter(label__key="hot-now", label__kind="tag")
        assert set(bearing.values_list("lead_id", flat=True)) == {leads[0].pk, leads[1].pk}
        entry = AuditEntry.objects.get(action="leads.labelled")
    assert (entry.actor_id, entry.after) == (office.agent.pk, {"leads": 2, "added": 2})


def test_all_that_match_are_assigned_and_what_came_later_is_not_swept_in(office, agent):
    leads = many(office, 8)
    shown = agent.get(url(office, "lists/selected/"), {"label": "gold"})
    late = many(office, 1, start=100)

    form = {"do": "assign", "agent": office.agent.pk, "selection": selection_of(shown)}
    agent.post(url(office, "lists/act/"), form)

    with office.inside():
        assigned = set(
            Lead.objects.filter(assigned_agent=office.agent).values_list("pk", flat=True)
        )
    assert assigned == {lead.pk for lead in leads}
    assert late[0].pk not in assigned


def test_a_list_that_changed_is_not_acted_on(office, agent):
    leads = many(office, 4)
    shown = agent.get(url(office, "lists/selected/"), {"label": "gold"})
    with office.inside():
        LeadLabel.objects.filter(lead=leads[0]).delete()

    form = {"do": "assign", "agent": office.agent.pk, "selection": selection_of(shown)}
    answer = agent.post(url(office, "lists/act/"), form)

    assert answer.status_code == 409
    assert "4 leads were shown, 3 match now" in answer.content.decode()
    assert selection_of(answer) != form["selection"]
    with office.inside():
        assert not Lead.objects.exclude(assigned_agent=None).exists()


def test_selections_are_signed_and_of_one_tenant(office, other_office, agent, login):
    leads, foreign = many(office, 2), many(other_office, 2)
    stolen = selection_of(
        login(other_office).post(url(other_office, "lists/selected/"), {"lead": foreign[0].pk})
    )
    ticked = agent.post(url(office, "lists/selected/"), {"lead": [foreign[0].pk]})
    assert ticked.status_code == 302
    for forged in (
        stolen,
        "x",
        "",
        selection_of(agent.post(url(office, "lists/selected/"), {"lead": leads[0].pk}))[:-2],
    ):
        form = {"do": "label", "name": "Stolen", "selection": forged}
        answer = agent.post(url(office, "lists/act/"), form, follow=True)
        assert "too old" in answer.content.decode()
    for tenant in (office, other_office):
        with tenant.inside():
            assert not Label.objects.filter(key="stolen").exists()


def test_observers_neither_tick_nor_act(office):
    many(office, 2)
    _, observer = person(office, role="observer")

    assert 'type="checkbox" name="lead"' not in page(observer, office).content.decode()
    assert observer.get(url(office, "lists/selected/")).status_code == 403
    assert observer.post(url(office, "lists/act/"), {"do": "label"}).status_code == 403


def test_people_of_other_tenants_are_given_nothing(office, other_office, agent):
    leads = many(office, 1)
    shown = agent.post(url(office, "lists/selected/"), {"lead": leads[0].pk})

    form = {"do": "assign", "agent": other_office.agent.pk, "selection": selection_of(shown)}

    assert agent.post(url(office, "lists/act/"), form).status_code == 404
    assert agent.post(url(office, "lists/act/"), form | {"do": "fly"}).status_code == 404


def test_an_id_of_what_hangs_from_a_lead_opens_the_lead(office, agent, mixed):
    with office.inside():
        point = ContactPoint.objects.filter(lead=mixed["yes"]).first()
    lead_page = url(office, f"leads/{mixed['yes'].pk}/")

    assert agent.get(url(office, f"go/{point.pk}/")).url == lead_page
    assert agent.get(url(office, f"go/{mixed['run']}/")).url.endswith(f"leads/?run={mixed['run']}")
