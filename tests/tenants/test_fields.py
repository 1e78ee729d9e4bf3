"""Fields: ids that mean one kind of row, and secrets that nobody reads in the database."""

from __future__ import annotations

import json
import logging
import uuid

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured, ValidationError

from integrations.models import Integration
from leads.models import Lead
from tenants.fields import EncryptedField, Secret, UlidField, decrypt, encrypt
from tenants.ulids import new_id, to_uuid
from tests.raw import rows

FIELD = UlidField(prefix="lead")
GOOD = "lead_01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.mark.parametrize(
    "value",
    [
        GOOD,
        GOOD.lower(),
        GOOD.removeprefix("lead_"),
        to_uuid(GOOD),
        str(to_uuid(GOOD)),
        to_uuid(GOOD).hex,
    ],
)
def test_the_forms_of_an_id_are_one(value):
    assert FIELD.to_python(value) == GOOD


@pytest.mark.parametrize(
    "value",
    [
        "conv_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "LEAD_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "lead__01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "lead_lead_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "lead_01ARZ3NDEKTSV4RRFFQ69G5FAO",
        "lead_81ARZ3NDEKTSV4RRFFQ69G5FAV",
        "lead_01ARZ3NDEKTSV4RRFFQ69G5FA",
        "lead_",
        "_",
        "x" * 500,
        "\u0663" * 32,  # digits, for int() and so for uuid.UUID()
        "+" + "0" * 31,
        " " * 4 + "0" * 28,
        "-" * 4 + "0" * 32,
        "{" + "0" * 34 + "}",
        1,
        0,
        True,
        1.5,
        b"lead",
        [],
        {},
    ],
)
def test_anything_else_is_an_error_and_no_empty_answer(value):
    with pytest.raises(ValidationError):
        FIELD.to_python(value)


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_stays_nothing(value):
    assert FIELD.to_python(value) is None


@pytest.mark.django_db
@pytest.mark.parametrize("look", [
    lambda bad: Lead.objects.get(pk=bad),
    lambda bad: Lead.objects.filter(pk=bad).exists(),
    lambda bad: Lead.objects.filter(pk__in=[bad]).exists(),
    lambda bad: Lead.objects.filter(merged_into=bad).exists(),
])  # fmt: skip
def test_a_query_with_a_wrong_id_fails_loudly(office, look):
    with office.inside():
        for bad in (new_id("conv"), 7, "nonsense"):
            with pytest.raises((ValidationError, ValueError)):
                look(bad)


@pytest.mark.django_db
def test_ids_are_uuids_in_the_database_and_text_in_python(office):
    lead = office.lead()
    with office.inside():
        [(stored,)] = rows("SELECT id FROM leads")

        assert (stored, Lead.objects.get().pk) == (to_uuid(lead.pk), lead.pk)
        assert Lead.objects.get(pk=lead.pk.lower()) == lead
        assert list(Lead.objects.values_list("pk", flat=True)) == [lead.pk]


def test_a_field_comes_back_from_a_migration():
    _, path, args, kwargs = UlidField(prefix="lead", primary_key=True).deconstruct()

    assert path == "tenants.fields.UlidField"
    assert kwargs["prefix"] == "lead"
    assert "default" not in kwargs
    assert UlidField(*args, **kwargs).new().startswith("lead_")


# --- secrets ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_secret_is_stored_encrypted(office):
    with office.inside():
        office.integration.api_key = "canary-123"
        office.integration.save()
        [(stored,)] = rows("SELECT api_key FROM integrations")

        assert "canary" not in stored
        assert decrypt(stored) == Integration.objects.get().api_key == "canary-123"


@pytest.mark.django_db
def test_an_empty_secret_is_empty(office):
    with office.inside():
        Integration.objects.update(api_key="", previous_secret="")

        assert rows("SELECT api_key FROM integrations") == [("",)]
        assert Integration.objects.get().api_key == ""


@pytest.mark.django_db
def test_the_same_secret_twice_is_not_the_same_text(office):
    assert encrypt("a") != encrypt("a")
    assert EncryptedField().get_prep_value(None) is None


def test_a_secret_does_not_show_itself(caplog):
    secret = Secret("canary-123")
    logging.getLogger("test").warning("%r %r", secret, {"key": secret})

    assert "canary" not in caplog.text
    assert repr(secret) == "'***'"
    assert repr(Secret("")) == "''"
    assert json.dumps(secret) == '"canary-123"'  # it is a string wherever it is used


def test_new_keys_encrypt_and_old_ones_still_decrypt(settings):
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [old]
    kept = encrypt("canary")
    settings.ENCRYPTION_KEYS = [new, old]

    assert decrypt(kept) == "canary"
    assert Fernet(new).decrypt(encrypt("x").encode()) == b"x"
    settings.ENCRYPTION_KEYS = [new]
    with pytest.raises(ImproperlyConfigured, match="FAIRLEAD_ENCRYPTION_KEYS"):
        decrypt(kept)


def test_a_bad_key_says_so(settings):
    settings.ENCRYPTION_KEYS = ["short"]

    with pytest.raises(ImproperlyConfigured, match="Fernet"):
        encrypt("x")


def test_every_uuid_is_accepted_as_such():
    value = uuid.UUID(int=2**128 - 1)

    assert FIELD.to_python(value) == "lead_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
