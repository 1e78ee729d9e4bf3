"""Settings, read from the environment. README and docs/OPERATIONS.md list the variables."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import environ
import structlog
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

from config.unfold import UNFOLD  # noqa: F401
from tenants.correlation import add_correlation, mask_secrets

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

ENVIRONMENT = env("FAIRLEAD_ENV", default="development")
if ENVIRONMENT not in ("development", "test", "production"):
    raise ImproperlyConfigured("FAIRLEAD_ENV is development, test or production")
PRODUCTION = ENVIRONMENT == "production"
DEBUG = False  # error pages never show settings or SQL, in no environment
TESTING = "pytest" in sys.modules


def _required(name: str, development: str) -> str:
    """Return a variable that production must set; other environments have a fixed value."""
    value = env(name, default="" if PRODUCTION else development)
    if not value:
        raise ImproperlyConfigured(f"set {name}: production has no default for it")
    return value


SECRET_KEY = _required("FAIRLEAD_SECRET_KEY", "development-only-" + "0" * 48)
#: Newest first: it encrypts, all decrypt. `python -c "from cryptography.fernet import Fernet;
#: print(Fernet.generate_key().decode())"` makes one.
ENCRYPTION_KEYS = [
    key.strip()
    for key in _required(
        "FAIRLEAD_ENCRYPTION_KEYS", "ZmFpcmxlYWQtZGV2ZWxvcG1lbnQtb25seS1rZXktMDE="
    ).split(",")
    if key.strip()
]
PORT = env.int("PORT", default=8000)
#: Public address of this deployment: webhook URLs handed to providers start with it.
BASE_URL = _required("FAIRLEAD_BASE_URL", f"http://127.0.0.1:{PORT}").rstrip("/")
ALLOWED_HOSTS = env.list(
    "FAIRLEAD_ALLOWED_HOSTS",
    default=[] if PRODUCTION else ["localhost", "127.0.0.1", "[::1]", "testserver"],
)
CSRF_TRUSTED_ORIGINS = env.list("FAIRLEAD_TRUSTED_ORIGINS", default=[])
#: Number of proxies in front that set X-Forwarded-For and X-Forwarded-Proto; 0 trusts neither.
PROXIES = env.int("FAIRLEAD_PROXIES", default=0)

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "tenants",
    "pipelines",
    "leads",
    "integrations",
    "messaging",
    "campaigns",
    "config.apps.FairleadAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "django_filters",
    "django_q",
    "axes",
    "csp",
]
LOCAL_APPS = ["tenants", "pipelines", "leads", "integrations", "messaging", "campaigns"]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "tenants.middleware.CorrelationMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.csp.AdminCspMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "tenants.middleware.TenantMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.navigation.navigation",
            ],
        },
    }
]

# --- database ---------------------------------------------------------------------------------
DATA_DIR = Path(env("FAIRLEAD_DATA_DIR", default=str(BASE_DIR / "var")))
#: While the database is away web processes keep verified deliveries in DATA_DIR/spool: needs a disk
#: that outlives the process. Sends pause until all hosts' spools are empty.
SPOOL = env("FAIRLEAD_SPOOL", default="on") != "off"
SPOOL_MB = env.int("FAIRLEAD_SPOOL_MB", default=512)
#: Limits of every ordinary session: no statement and no idle transaction holds locks for long, and
#: a vanished client is noticed. Empty behind a pooler that refuses start-up options.
SESSION_OPTIONS = env(
    "FAIRLEAD_DB_OPTIONS",
    default="-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"
    " -c client_connection_check_interval=500ms",
)
APP_ROLE, OWNER_ROLE = "fairlead_app", "fairlead_owner"
#: Tables that migrations fill: the test flush leaves them alone.
CATALOGUES = ["lead_transitions", "erasure_keys"]
#: The row of tenants that a migration made: the platform tenant.
AFTER_FLUSH = [
    "INSERT INTO tenants (id, name, slug, plan, time_zone, legal_start, legal_end,"
    " daily_send_limit, gold_label_priority, email_priority, wants_call_priority,"
    " call_queue_threshold, settings, is_canary) VALUES"
    " ('00000000-0000-0000-0000-000000000001', 'Platform', 'platform', 'platform', 'UTC', 8, 21,"
    " 0, 100, 75, 100, 50, '{}', false)"
]


def _database() -> dict[str, Any]:
    """Return the settings of the one database: embedded, one login, or two logins."""
    common: dict[str, Any] = {
        "ENGINE": "config.pg",
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "CATALOGUES": CATALOGUES,
        "AFTER_FLUSH": AFTER_FLUSH,
        "TEST": {"NAME": env("TEST_DB_NAME", default="test_fairlead")},
        "OPTIONS": {"options": SESSION_OPTIONS} if SESSION_OPTIONS else {},
    }
    if "DATABASE_URL" not in os.environ:
        return {
            **common,
            "NAME": env("DB_NAME", default="fairlead"),
            "USER": APP_ROLE,
            "OWNER": {"user": OWNER_ROLE, "options": ""},
            "EMBEDDED": True,
        }
    url = env.db("DATABASE_URL")
    url.pop("ENGINE")
    options = {**common["OPTIONS"], **url.pop("OPTIONS", {})}
    if "DB_NAME" in os.environ:
        url["NAME"] = env("DB_NAME")
    if "DATABASE_OWNER_URL" in os.environ:
        owner = env.db("DATABASE_OWNER_URL")
        login = {"user": owner["USER"], "password": owner["PASSWORD"], "options": ""}
        return {**common, **url, "OPTIONS": options, "OWNER": login}
    # One login owns the tables and steps down to the app role on every ordinary connection.
    return {**common, **url, "OPTIONS": options, "ROLE": APP_ROLE, "OWNER": {"options": ""}}


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- web --------------------------------------------------------------------------------------
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
if PRODUCTION:
    SECURE_SSL_REDIRECT = env.bool("FAIRLEAD_SSL_REDIRECT", default=True)
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    SECURE_HSTS_SECONDS = env.int("FAIRLEAD_HSTS_SECONDS", default=365 * 24 * 3600)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
if PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

#: Strict everywhere; tenants/middleware.py loosens it for /admin/ alone, whose theme needs it.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
ADMIN_CSP = {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static" if PRODUCTION else None
STATICFILES_DIRS = [BASE_DIR / "static"]
#: Hashed, compressed files in production; the plain ones, found in place, elsewhere.
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
#: Django's own limit answers 400; webhooks have theirs (413) and read the raw stream.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000
#: Where artifacts too large for their row are kept: on storage that all hosts share.
FAIRLEAD_OBJECT_DIR = env("FAIRLEAD_OBJECT_DIR", default=str(DATA_DIR / "objects"))
#: Megabytes of a file that a browser may send; it is streamed to disk. Commands take any size.
UPLOAD_MB = env.int("FAIRLEAD_UPLOAD_MB", default=512)
FILE_UPLOAD_HANDLERS = [
    "leads.imports.uploads.LimitedUpload",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "tenants.context.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "leads.api.schema.KeySchema",
}
#: The description of the API, at /api/v1/schema/.
SPECTACULAR_SETTINGS = {
    "TITLE": "Fairlead",
    "DESCRIPTION": "Leads, contacts, labels and imports of one tenant. Send a key of it as"
    " `Authorization: Bearer fl_…`. Answers from 400 on are problems (RFC 9457) with advice.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "PointKind": "leads.api.schema.POINT_KINDS",
        "LabelKind": "leads.api.schema.LABEL_KIND_CHOICES",
        "LeadStates": "leads.states.LeadState",
        "ImportStates": "leads.api.schema.IMPORT_STATE_CHOICES",
    },
    "PREPROCESSING_HOOKS": ["leads.api.schema.only_api"],
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = ["config.formats"]

AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_IPWARE_PROXY_COUNT = PROXIES or None
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

# --- background -------------------------------------------------------------------------------
Q_CLUSTER = {
    "name": "fairlead",
    "orm": "default",
    "workers": 1,
    "timeout": 60,
    "retry": 90,
    "bulk": 10,
    "queue_limit": 20,
    "save_limit": -1,
    "max_attempts": 3,
    "ack_failures": True,
    "recycle": 500,
    "catch_up": False,
    "poll": 2,
}
#: Whether calls to providers may go to any address, plain HTTP included: for a sandbox.
PRIVATE_CALLS = env.bool("FAIRLEAD_PRIVATE_CALLS", default=not PRODUCTION)
#: Hosts, and all below them, that providers may be called at; empty: any public one.
API_HOSTS = env.list("FAIRLEAD_API_HOSTS", default=[])
#: Modules whose functions a task may name; django-q2 itself would run any.
TASK_MODULES = ["config.schedules", *(f"{app}.tasks" for app in LOCAL_APPS)]
#: Seconds a provider call may take in all; an attempt without an answer this long after its
#: claim plus SEND_LEASE is unknown.
SEND_DEADLINE = env.float("FAIRLEAD_SEND_DEADLINE", default=10.0)
SEND_LEASE = env.float("FAIRLEAD_SEND_LEASE", default=60.0)

# --- logs -------------------------------------------------------------------------------------
_shared: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    add_correlation,
    mask_secrets,
]
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_shared,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
LOG_FORMAT = env("FAIRLEAD_LOG", default="json" if PRODUCTION else "text")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": _shared,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer()
                if LOG_FORMAT == "json"
                else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0),
            ],
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["console"], "level": env("FAIRLEAD_LOG_LEVEL", default="INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
    },
}
logging.captureWarnings(True)

if TESTING:
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    AXES_ENABLED = env.bool("AXES_ENABLED", default=True)
