"""The admin of a tenant's records: the base classes, and the pages of this app's own tables."""

from tenants.admin import people
from tenants.admin.base import LogAdmin, TenantAdmin
from tenants.admin.columns import chip_column, id_link, plain, visible_text, words_column
from tenants.admin.filters import AgeFilter, RowsFilter
from tenants.admin.forms import TenantForm

__all__ = [
    "AgeFilter",
    "LogAdmin",
    "RowsFilter",
    "TenantAdmin",
    "TenantForm",
    "chip_column",
    "id_link",
    "people",
    "plain",
    "visible_text",
    "words_column",
]
