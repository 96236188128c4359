"""What tests change in a running Airflow, beyond what the product's own client asks of it."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from nightshift.local.api import Api


def patch(api: Api, path: str, body: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {api._token}", "Content-Type": "application/json"}
    request = urllib.request.Request(api._url + path, json.dumps(body).encode(), headers, method="PATCH")
    urllib.request.urlopen(request, timeout=60).close()
