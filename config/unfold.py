"""Look of the admin: the tokens of static/css/tokens.css, in the words of Unfold."""

from __future__ import annotations

from typing import Any

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Fairlead",
    "SITE_HEADER": "Fairlead",
    "SITE_URL": "/",
    "BORDER_RADIUS": "6px",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "COLORS": {
        "base": {
            "50": "#f5f7f9",
            "100": "#eef0f4",
            "200": "#e0e3e8",
            "300": "#cbd0d7",
            "400": "#9ea5b0",
            "500": "#646c79",
            "600": "#545d6a",
            "700": "#3c4452",
            "800": "#232a37",
            "900": "#111721",
            "950": "#0c121a",
        },
        "primary": {
            "50": "#eef5fe",
            "100": "#e7f1fd",
            "200": "#c9e1fb",
            "300": "#9ac8fd",
            "400": "#5ea8f2",
            "500": "#9ac8fd",  # text and icons on dark surfaces
            "600": "#016cc3",
            "700": "#015aa5",
            "800": "#005094",
            "900": "#132c48",
            "950": "#0c1d30",
        },
        "font": {
            "subtle-light": "#646c79",
            "subtle-dark": "#9ea5b0",
            "default-light": "#545d6a",
            "default-dark": "#cbd0d7",
            "important-light": "#111721",
            "important-dark": "#eef0f4",
        },
    },
    # Both remember things across tenants: results on the server, titles in the browser.
    "COMMAND": {"search_models": False, "show_history": False},
    "SIDEBAR": {"show_search": False, "command_search": False, "show_all_applications": False},
}
