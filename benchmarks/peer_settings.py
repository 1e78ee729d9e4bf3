"""The same server and database with dj-stripe in it, whose webhook view intake is compared with."""

from benchmarks.settings import *  # noqa: F403
from benchmarks.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "djstripe"]
ROOT_URLCONF = "benchmarks.peer_urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STRIPE_LIVE_MODE = False
STRIPE_TEST_SECRET_KEY = "sk_test_0123456789abcdef0123456789"
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"
SILENCED_SYSTEM_CHECKS = ["djstripe.W001", "djstripe.W004", "djstripe.I001"]
