"""The LLM judge's server: whether it answers, and takes the key."""

from __future__ import annotations

import httpx

from pipelines.core.chat_api import server_root
from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.evaluation.judges.client import key_of
from pipelines.operations.doctor.finding import Finding, failure

WAIT_S = 5.0
REFUSED = (401, 403)


def look_at_judge(config: Config) -> list[Finding]:
    """Nothing without a judge. A server that is away is a warning: nights go on without it."""
    if not config.judge.is_on:
        return []
    root = server_root(config.judge.url, "judge.url")
    try:
        key = key_of(config)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        status = httpx.get(f"{root}/v1/models", headers=headers, timeout=WAIT_S).status_code
    except InputError as error:
        return [failure("judge", error)]
    except httpx.HTTPError as error:
        said = f"The judge's server at {root} does not answer ({type(error).__name__})."
        return [Finding("warn", "judge", said, "Start it, or correct judge.url; nights go on without it.")]
    if status in REFUSED:
        said = f"The judge's server at {root} refuses the key (status {status})."
        return [Finding("warn", "judge", said, "Let judge.api_key_file name a file with a valid key.")]
    return [Finding("ok", "judge", f"The judge's server at {root} answers.")]
