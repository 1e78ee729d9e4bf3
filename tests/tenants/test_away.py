"""Pages while the database is away."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError
from django.test import RequestFactory

from tenants.middleware import TenantMiddleware


@pytest.mark.django_db
def test_page_says_so_and_asks_to_come_back_when_the_database_is_away():
    def view(request):
        raise OperationalError("connection refused")

    request = RequestFactory().get("/login/")
    request.user = AnonymousUser()

    answer = TenantMiddleware(view)(request)

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert b"Nothing was saved" in answer.content


@pytest.mark.parametrize("path", ["leads/?q=ab%00", "inbox/initial_message/?q=ab%00"])
def test_what_the_database_cannot_read_is_the_senders_mistake(office, login, path):
    answer = login(office).get(f"/t/harbor/{path}")

    assert answer.status_code == 400
