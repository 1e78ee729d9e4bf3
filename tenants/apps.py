from django.apps import AppConfig
from django.contrib.postgres.indexes import OpClass
from django.db.models.expressions import OrderBy
from django.db.models.functions import Collate
from django.db.models.indexes import IndexExpression
from django.utils.module_loading import autodiscover_modules


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        # Indexes of expressions with an operator class; the app django.contrib.postgres would do
        # this too, and query each new connection for types that we do not use.
        IndexExpression.register_wrappers(OrderBy, OpClass, Collate)
        # The only other start-up hook: it imports the modules that register plug-ins.
        autodiscover_modules("providers", "handlers", "blocks", "checks")
