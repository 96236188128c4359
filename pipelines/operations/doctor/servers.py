"""Servers of other models that a night asks: the LLM judge's, and the one that answers evaluations."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from pipelines.core.chat_api import server_root
from pipelines.core.config import Config
from pipelines.core.errors import NightshiftError
from pipelines.core.files import read_key
from pipelines.evaluation.judges.client import key_of
from pipelines.models.served import root_of
from pipelines.operations.doctor.finding import Finding, failure

WAIT_S = 5.0
REFUSED = (401, 403)


def look_at_judge(config: Config) -> list[Finding]:
    """Nothing without a judge."""
    if not config.judge.is_on:
        return []
    away = "Start it, or correct judge.url; nights go on without it."
    mend = "Let judge.api_key_file name a file with a valid key."
    return _look(
        "judge",
        "The judge's server",
        lambda: (server_root(config.judge.url, "judge.url"), key_of(config)),
        away,
        mend,
    )


def look_at_evaluation_server(config: Config) -> list[Finding]:
    """Nothing where the engine of a step's own process answers."""
    if config.evaluate.engine == "embedded":
        return []
    away = "Start it before the night is evaluated, or correct evaluate.url (or serving.url)."
    mend = "Let serving.api_key_file name a file with a valid key."
    key_file = config.serving.api_key_file
    return _look(
        "evaluation",
        "The server that answers evaluations",
        lambda: (root_of(config), read_key(key_file, "serving.api_key_file")),
        away,
        mend,
    )


def _look(about: str, name: str, place: Callable[[], tuple[str, str]], away: str, mend: str) -> list[Finding]:
    """`place`: the server's address and key. One that is away is a warning: it may be there at night."""
    try:
        root, key = place()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        status = httpx.get(f"{root}/v1/models", headers=headers, timeout=WAIT_S).status_code
    except NightshiftError as error:
        return [failure(about, error)]
    except httpx.HTTPError as error:
        return [Finding("warn", about, f"{name} at {root} does not answer ({type(error).__name__}).", away)]
    if status in REFUSED:
        return [Finding("warn", about, f"{name} at {root} refuses the key (status {status}).", mend)]
    return [Finding("ok", about, f"{name} at {root} answers.")]
