from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        # The only start-up hook in the project: it imports the modules that register plug-ins.
        autodiscover_modules("providers", "handlers", "blocks", "checks")
