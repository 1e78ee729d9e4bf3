"""Fairlead's own settings, with the bare view that intake is compared with."""

from config.settings import *  # noqa: F403, TID251

ROOT_URLCONF = "benchmarks.urls"
