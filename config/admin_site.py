"""The admin site: our tables only, entered one tenant at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import LogoutView
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.text import capfirst
from django.views.decorators.http import require_POST
from unfold.sites import UnfoldAdminSite

from messaging.views.shell import counted
from tenants.actions import VISIT, VisitRefused, begin_visit, end_visit
from tenants.http import TenantRequest
from tenants.models import PLATFORM_TENANT_ID, Actor, Tenant

#: Group of the rail → icon and tables, in the order people look for them.
RECORDS = {
    "Leads": (
        "users",
        [
            "Lead",
            "ContactPoint",
            "Contact",
            "Verification",
            "LeadLabel",
            "Label",
            "LeadTimer",
            "LeadEvent",
            "LeadCard",
            "LeadActivity",
            "CallItem",
        ],
    ),
    "Around leads": (
        "building",
        ["Business", "Property", "PropertyDistressScore", "Ownership"],
    ),
    "Quality": (
        "gauge",
        ["LeadScore", "QualityScore", "ScoreRule", "MergeReview", "Merge", "IdentityTurn"],
    ),
    "Imports": (
        "file-up",
        ["Import", "ImportRow", "ImportChange", "ImportPreset", "ImportPart", "SavedView"],
    ),
    "Vendors": (
        "coins",
        [
            "PullQuery",
            "PullSweep",
            "PullPage",
            "PullBill",
            "VendorSeen",
            "WaterfallStage",
            "Enrichment",
            "VendorCall",
            "VendorAnswer",
            "VendorInput",
            "SpendCounter",
            "ProviderCircuit",
            "VerificationCode",
        ],
    ),
    "Consent": (
        "shield-check",
        [
            "Consent",
            "ConsentEvent",
            "ConsentEffect",
            "ConsentAck",
            "SuppressionList",
            "ContactRule",
            "DossierExport",
            "Redaction",
        ],
    ),
    "Messages": (
        "message-square",
        [
            "Conversation",
            "Message",
            "OutboundMessage",
            "SendAttempt",
            "SendOutcome",
            "DailySend",
            "BrandDay",
            "NumberDay",
            "Notification",
            "ReadCursor",
            "Draft",
            "LiveEvent",
        ],
    ),
    "Intake": (
        "webhook",
        [
            "WebhookEvent",
            "WebhookWork",
            "WorkEvent",
            "WebhookReceipt",
            "WebhookRejection",
            "WorkFlight",
            "SpoolHost",
        ],
    ),
    "Trouble": (
        "circle-alert",
        ["Incident", "DeadLetter", "QuarantineRule", "PipelineRun", "Artifact", "ArtifactParent"],
    ),
    "Other systems": ("plug", ["ExternalId", "SyncState", "ReconcileRun", "BroadcastStat"]),
    "Setup": (
        "settings",
        [
            "PhoneNumber",
            "Brand",
            "Integration",
            "WebhookEndpoint",
            "FieldMapping",
            "Stage",
            "Worker",
            "LeadTransition",
        ],
    ),
    "People": (
        "user-round",
        ["Actor", "StageMembership", "ApiKey", "ApiAnswer", "AuditEntry", "Tenant", "User"],
    ),
}
#: Pages that need no tenant; every other one is a 404 until one is entered.
WITHOUT_TENANT = {"login", "logout", "index", "choose", "leave", "jsi18n", "search"}
PEOPLE_PAGES = ("password_change", "tenants_user", "auth_user_password_change")


class FairleadSite(UnfoldAdminSite):
    """Shows the tables of our apps, those of one tenant; the rest of Django stays out of it.

    django-q2's, axes' and auth's own tables are never registered: whoever may edit a schedule or
    a queued task there may run any function.
    """

    site_title = site_header = "Fairlead"
    enable_nav_sidebar = True

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Register tables of our own apps, and quietly none of anybody else's."""
        many = isinstance(model_or_iterable, Iterable)
        models = model_or_iterable if many else [model_or_iterable]
        ours = [model for model in models if model._meta.app_label in settings.LOCAL_APPS]
        super().register(ours, admin_class, **options)

    # --- doors --------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        own = [
            path("choose/", self.admin_view(self.choose), name="choose"),
            path("leave/", self.admin_view(require_POST(self.leave)), name="leave"),
        ]
        return own + super().get_urls()

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        """Wrap *view*: no tenant, no rows; and clocks show the tenant's time."""
        guarded = super().admin_view(self._in_tenant(view), cacheable)
        guarded.model_admin = getattr(view, "model_admin", None)
        return guarded

    def _in_tenant(self, view: Callable[..., Any]) -> Callable[..., Any]:
        def inner(request: TenantRequest, *args: Any, **kwargs: Any) -> Any:
            tenant: Tenant | None = getattr(request, "tenant", None)
            if tenant is None:
                return self._outside(request) or view(request, *args, **kwargs)
            request.stages = partial(stages_of, request)  # type: ignore[attr-defined]
            with timezone.override(ZoneInfo(tenant.time_zone)):
                response = view(request, *args, **kwargs)
                if isinstance(response, TemplateResponse):
                    response.render()  # lazily it would render in UTC
                return response

        for name in ("csrf_exempt", "model_admin"):
            if hasattr(view, name):
                setattr(inner, name, getattr(view, name))
        return inner

    def _outside(self, request: HttpRequest) -> HttpResponse | None:
        match = request.resolver_match
        name = (match.url_name or "") if match else ""
        if name in WITHOUT_TENANT or name.startswith(PEOPLE_PAGES):
            return None
        if request.method == "GET" and name.endswith("_changelist") and memberships(request):
            query = urlencode({"next": request.get_full_path()})
            return redirect(f"{reverse('admin:choose')}?{query}")
        raise Http404

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """There is one login page, for agents and staff alike."""
        if not request.user.is_authenticated:
            query = urlencode({"next": _safe_next(request) or reverse("admin:index")})
            return redirect(f"{settings.LOGIN_URL}?{query}")
        if self.has_permission(request):
            return redirect(_safe_next(request) or reverse("admin:index"))
        raise PermissionDenied("Your login may not open the admin. A tenant admin can grant it.")

    def logout(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return LogoutView.as_view()(request)

    # --- tenants ------------------------------------------------------------------------------
    def choose(self, request: HttpRequest) -> HttpResponse:
        """Page: which tenant to work in. POST enters it, platform staff with a reason."""
        if request.method == "POST":
            return self._enter(request)
        here = getattr(request, "tenant", None)
        if here is not None and here.slug == request.GET.get("tenant") and _safe_next(request):
            return redirect(_safe_next(request))  # the pages' link, from the same tenant
        return self._chooser(request)

    def _chooser(self, request: HttpRequest, error: str = "", status: int = 200) -> HttpResponse:
        asked = request.GET.get("tenant", "")
        mine = sorted(memberships(request), key=lambda one: one.slug != asked)
        context = {
            **self.each_context(request),
            "title": "Choose a tenant",
            "mine": mine,
            "next": _safe_next(request),
            "others": visitable(request, {one.tenant_id for one in mine}),
            "hours": int(VISIT.total_seconds() // 3600),
            "error": error,
            "reason": request.POST.get("reason", ""),
            "wanted": request.POST.get("tenant", ""),
        }
        return TemplateResponse(request, "admin/choose.html", context, status=status)

    def _enter(self, request: HttpRequest) -> HttpResponse:
        wanted = request.POST.get("tenant", "")
        target = _safe_next(request) or reverse("admin:index")
        if any(one.tenant_id == wanted for one in memberships(request)):
            request.session["tenant"] = wanted
            return redirect(target)
        tenant = next((one for one in visitable(request, set()) if one.pk == wanted), None)
        if tenant is None:
            raise Http404
        try:
            begin_visit(user=request.user, tenant=tenant, reason=request.POST.get("reason", ""))  # type: ignore[arg-type]
        except VisitRefused as refused:
            return self._chooser(request, error=str(refused), status=422)
        request.session["tenant"] = tenant.pk
        return redirect(target)

    def leave(self, request: HttpRequest) -> HttpResponse:
        """Leave the tenant; a visit of platform staff ends with it."""
        actor: Actor | None = getattr(request, "actor", None)
        if actor is not None:
            end_visit(actor)
        request.session.pop("tenant", None)
        messages.info(request, "You left the tenant.")
        return redirect("admin:choose")

    # --- pages --------------------------------------------------------------------------------
    def index(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if getattr(request, "tenant", None) is None:
            return self._chooser(request)
        return super().index(request, {"title": "Records", **(extra_context or {})})

    def app_index(
        self, request: HttpRequest, app_label: str, extra_context: Any = None
    ) -> HttpResponse:
        if app_label not in settings.LOCAL_APPS:
            raise Http404
        return redirect("admin:index")

    def search(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Unfold's search remembers results per person, whatever the tenant: there is none."""
        raise Http404

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context: dict[str, Any] = super().each_context(request)
        tenant, actor = getattr(request, "tenant", None), getattr(request, "actor", None)
        return {
            **context,
            "tenant": tenant,
            "actor": actor,
            "visit_ends": actor.expires_at if actor else None,
            "record_groups": self.record_groups(request),
        }

    def record_groups(self, request: HttpRequest) -> list[dict[str, Any]]:
        """Return the groups of the rail with the tables this person may see."""
        by_name = {model.__name__: model for model in self._registry}
        groups = []
        for title, (icon, names) in RECORDS.items():
            links = [
                self._link(request, by_name[name])
                for name in names
                if self._registry[by_name[name]].has_module_permission(request)
            ]
            if links:
                current = any(link["current"] for link in links)
                groups.append({"title": title, "icon": icon, "links": links, "open": current})
        return groups

    def _link(self, request: HttpRequest, model: Any) -> dict[str, Any]:
        admin = self._registry[model]
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        url = reverse(f"{name}_changelist")
        return {
            "label": admin.label or capfirst(model._meta.verbose_name_plural),
            "hint": admin.hint,
            "url": url,
            "add_url": reverse(f"{name}_add") if admin.has_add_permission(request) else "",
            "current": request.path.startswith(url),
        }


def memberships(request: HttpRequest) -> list[Any]:
    """Return the tenants this person may enter now, as the middleware found them."""
    return getattr(request, "memberships", [])


def visitable(request: HttpRequest, without: set[str]) -> list[Tenant]:
    """Return the tenants platform staff may visit with a reason; nobody else may any."""
    if not request.user.is_superuser:
        return []
    hidden = {PLATFORM_TENANT_ID, *without}
    return [one for one in Tenant.objects.order_by("name", "id") if one.pk not in hidden]


def stages_of(request: TenantRequest) -> list[tuple[str, str]]:
    """Return the stages as (key, label), read together with the counters of the rail."""
    return [(bell.key, bell.label) for bell in counted(request)[0]]


def _safe_next(request: HttpRequest) -> str:
    target = request.POST.get("next") or request.GET.get("next") or ""
    allowed = url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()})
    return target if allowed else ""
