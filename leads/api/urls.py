"""Addresses of the API, below ``/api/v1/``."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularJSONAPIView

from leads.api import imports, views
from leads.api.schema import docs

urlpatterns = [
    path("schema/", SpectacularJSONAPIView.as_view(authentication_classes=[]), name="api-schema"),
    path("docs/", docs, name="api-docs"),
    path("leads/", views.Leads.as_view(), name="api-leads"),
    path("leads/<str:lead_id>/", views.OneLead.as_view(), name="api-lead"),
    path("leads/<str:lead_id>/contacts/", views.Contacts.as_view(), name="api-contacts"),
    path("leads/<str:lead_id>/contact-points/", views.Points.as_view(), name="api-points"),
    path("leads/<str:lead_id>/labels/", views.LeadLabels.as_view(), name="api-lead-labels"),
    path(
        "leads/<str:lead_id>/labels/<str:label_id>/",
        views.OneLeadLabel.as_view(),
        name="api-lead-label",
    ),
    path("labels/", views.Labels.as_view(), name="api-labels"),
    path("search/", views.Search.as_view(), name="api-search"),
    path("imports/", imports.Imports.as_view(), name="api-imports"),
    path("imports/<str:import_id>/", imports.OneImport.as_view(), name="api-import"),
]
