"""What Airflow loads from its plugins folder: the listener, the alert endpoint and the page."""

from __future__ import annotations

import functools
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from nightshift import listener
from nightshift.settings import Settings


async def page(scope: Any, receive: Any, send: Any) -> None:
    """The page "Model loop". It is imported at its first request, so only the API server imports it."""
    from nightshift.page.app import app

    await app(scope, receive, send)


@functools.cache
def _endpoint() -> Any:
    from nightshift.endpoint.app import create_app

    return create_app(Settings.from_environment())


async def alerts(scope: Any, receive: Any, send: Any) -> None:
    """Where alerts come in."""
    await _endpoint()(scope, receive, send)


class NightshiftPlugin(AirflowPlugin):
    name = "nightshift"
    listeners = [listener]  # noqa: RUF012 (Airflow's own shape)
    fastapi_apps = [  # noqa: RUF012
        {"name": "nightshift-alerts", "app": alerts, "url_prefix": "/nightshift/alerts"},
        {"name": "nightshift-model-loop", "app": page, "url_prefix": "/model-loop"},
    ]
    external_views = [  # noqa: RUF012
        {
            "name": "Model loop",
            "href": "model-loop/",
            "destination": "nav",
            "url_route": "model-loop",
            "icon": "model-loop/static/moon.svg",
            "icon_dark_mode": "model-loop/static/moon-light.svg",
            "nav_top_level": True,
        },
    ]
