"""Field mappings in the admin: checked like the editor's rows, counted as versions, audited."""

from __future__ import annotations

import pytest

from integrations.actions_mappings import version_of
from integrations.models import FieldMapping, Integration
from tenants.models import AuditEntry
from tests.admin_world import enter, staff, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def custom(office):
    with office.inside():
        return Integration.objects.create(provider="custom", name="Automations")


@pytest.fixture
def operator(office):
    return enter(staff(office, "operator").user)


def fields(office, custom, **changes):
    return {
        "_tenant": office.tenant.pk,
        "_save": "",
        "integration": custom.pk,
        "module": "message.received",
        "position": 0,
        "target_field": "sender",
        "source_path": "sms.from|from",
        "transform": "e164",
        "default": "",
        **changes,
    }


def test_a_row_is_added_changed_and_removed_by_actions(office, custom, operator):
    add = operator.post(url(FieldMapping, "add"), fields(office, custom))
    assert add.status_code == 302, add.content
    with office.inside():
        mapping = FieldMapping.objects.get()
    page = url(FieldMapping, "change", mapping.pk)
    assert "Edit with preview" in operator.get(page).content.decode()

    assert operator.post(page, fields(office, custom, source_path="from")).status_code == 302
    with office.inside():
        assert FieldMapping.objects.get().source_path == "from"
    gone = operator.post(
        url(FieldMapping, "delete", mapping.pk), {"post": "yes", "_tenant": office.tenant.pk}
    )

    assert gone.status_code == 302
    with office.inside():
        assert not FieldMapping.objects.exists()
        assert version_of(Integration.objects.get(pk=custom.pk)) == 3
        made = AuditEntry.objects.filter(action__startswith="fieldmapping.")
        actions = list(made.order_by("id").values_list("action", flat=True))
    assert actions == ["fieldmapping.created", "fieldmapping.changed", "fieldmapping.removed"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source_path": "a..b"}, "is no path"),
        ({"source_path": ""}, "Give a source path or a default"),
        ({"default": "x@y"}, "The default does not fit"),
        ({"target_field": "amount_cents"}, "This event has no such target"),
        ({"module": "weather"}, "Select a valid choice"),
    ],
)
def test_a_row_that_can_never_work_is_refused(office, custom, operator, change, words):
    answer = operator.post(url(FieldMapping, "add"), fields(office, custom, **change))

    assert answer.status_code == 200
    assert words in answer.content.decode()
    with office.inside():
        assert not FieldMapping.objects.exists()


def test_a_default_alone_is_a_row(office, custom, operator):
    only = fields(office, custom, source_path="", default="+12025550142")

    assert operator.post(url(FieldMapping, "add"), only).status_code == 302
    with office.inside():
        assert FieldMapping.objects.get().default == "+12025550142"


def test_a_target_has_one_row(office, custom, operator):
    operator.post(url(FieldMapping, "add"), fields(office, custom))

    answer = operator.post(url(FieldMapping, "add"), fields(office, custom))

    assert "There is one with this" in answer.content.decode()


def test_only_custom_webhooks_can_be_chosen(office, custom, operator):
    answer = operator.post(
        url(FieldMapping, "add"), fields(office, custom, integration=office.integration.pk)
    )

    assert answer.status_code == 200
    with office.inside():
        assert not FieldMapping.objects.exists()
