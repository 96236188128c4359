"""Airflow's REST API."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from nightshift.local.environment import USER
from pipelines.core.errors import MachineError, UnavailableError

AWAY_S = 180.0  # how long a reading waits for an Airflow, or its database, that is away
RETRY_S = 2.0


class Api:
    """The API as the generated user."""

    def __init__(self, url: str, password: str, away_s: float = AWAY_S) -> None:
        self._url, self._away_s = url, away_s
        self._token = ""
        self._token = self.call("/auth/token", {"username": USER, "password": password})["access_token"]

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON answer to a GET, or to a POST of `body`; None for 404. A GET waits while Airflow is away.

        Raises MachineError if refused, UnavailableError where Airflow does not answer.
        """
        end = time.monotonic() + (self._away_s if body is None else 0.0)
        while True:
            try:
                return self._call(path, body)
            except UnavailableError:
                if time.monotonic() >= end:
                    raise
                time.sleep(RETRY_S)

    def _call(self, path: str, body: dict[str, Any] | None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            kind = UnavailableError if error.code >= 500 else MachineError
            raise kind(
                f"Airflow refused {path} with {error.code}: {_detail(error)}.",
                "Read the logs of its API server.",
            ) from error
        except OSError as error:  # a refused connection, one that broke, or no answer in time
            why = getattr(error, "reason", error)
            raise UnavailableError(f"Airflow does not answer at {self._url}: {why}.", "Start it.") from error


def _detail(error: urllib.error.HTTPError) -> str:
    """What the answer says is wrong."""
    try:
        told = json.load(error)["detail"]
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
    return str(told.get("message", told) if isinstance(told, dict) else told)
