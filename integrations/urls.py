from django.urls import re_path

from integrations.webhooks import WebhookReceiver

_TOKEN = r"(?P<token>[A-Za-z0-9_-]{20,100})"

# With and without the final slash: a redirect would change what a sender signed, or lose the body.
urlpatterns = [
    re_path(rf"^(?P<provider>[a-z0-9_]+)/{_TOKEN}/?$", WebhookReceiver.as_view(), name="webhook"),
    re_path(
        rf"^(?P<provider>[a-z0-9_]+)/{_TOKEN}/(?P<attempt>[A-Za-z0-9_-]{{20,100}})/?$",
        WebhookReceiver.as_view(),
        name="webhook-attempt",
    ),
]
