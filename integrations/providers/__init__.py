"""One module per vendor. Dropping a module here is all it takes to add a provider."""

from importlib import import_module
from pkgutil import iter_modules

from integrations.events import BadPayload
from integrations.providers.base import (
    Account,
    Carrier,
    Delivery,
    FoundText,
    HttpCall,
    Lane,
    OutboundText,
    Provider,
    Pulled,
    PullPage,
    Reconciles,
    SendResult,
    SignatureState,
    TakesOptOuts,
    providers,
)

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")


def provider_choices() -> list[tuple[str, str]]:
    """Name and label of every provider. Migrations store this path, so a new one needs none."""
    return [(name, providers[name].label) for name in providers]


def kind_of(name: str) -> type[Provider]:
    """Return a provider by its stored name; the base class where none of that name is installed."""
    if name not in providers:
        return Provider
    return providers[name]


__all__ = [
    "Account",
    "BadPayload",
    "Carrier",
    "Delivery",
    "FoundText",
    "HttpCall",
    "Lane",
    "OutboundText",
    "Provider",
    "PullPage",
    "Pulled",
    "Reconciles",
    "SendResult",
    "SignatureState",
    "TakesOptOuts",
    "kind_of",
    "provider_choices",
    "providers",
]
