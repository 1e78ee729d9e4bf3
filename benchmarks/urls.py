"""Fairlead's URLs and one more: a DRF view that answers 202 and does nothing."""

from django.urls import include, path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from integrations.webhooks import RawParser


class Bare(APIView):
    """The floor under every webhook endpoint written with DRF."""

    authentication_classes = ()
    permission_classes = ()
    parser_classes = (RawParser,)

    def post(self, request: Request) -> Response:
        return Response({"id": "wh_00000000000000000000000000"}, status=202)


urlpatterns = [
    path("hooks/bare/", Bare.as_view()),
    path("", include("config.urls")),
]
