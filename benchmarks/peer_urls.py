"""dj-stripe's webhook view, at the place its documentation gives it."""

from django.urls import include, path

urlpatterns = [
    path("stripe/", include("djstripe.urls", namespace="djstripe")),
    path("", include("benchmarks.urls")),
]
