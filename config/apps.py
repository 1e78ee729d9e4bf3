"""The admin of this deployment, in place of the ones Django and Unfold bring."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class FairleadAdminConfig(AdminConfig):
    default_site = "config.admin_site.FairleadSite"
