"""Every door: webhooks, health, people's pages, the admin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from config import health
from messaging.views.home import landing
from messaging.views.stream import stream

urlpatterns = [
    path("hooks/", include("integrations.urls")),
    path("api/v1/", include("leads.api.urls")),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("live/<slug:slug>/", stream, name="live"),
    path("admin/", admin.site.urls),
    path("t/<slug:slug>/", include("messaging.urls")),
    path("", landing, name="landing"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
