"""Writes docs/openapi.json, the gateway's interface as the last release has it: `make interface`.

A test compares today's with it, and refuses a change that breaks clients under the same major version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.engines.openai import OpenAIEngine
from gateway.http.app import create_app
from pipelines.core.config import Config

# Values of an answer that only those get who send an option that the last release refused: option -> changes.
ASKED_FOR = {
    "tools": {
        "POST /v1/chat/completions: answer 200.choices[].finish_reason: 'tool_calls' is new in answers",
    }
}
RELEASED = Path(__file__).resolve().parent / "openapi.json"


def interface() -> dict[str, Any]:
    """The gateway's OpenAPI description of today."""
    config = Config(profile="interface", serving={"engine": "openai", "url": "http://127.0.0.1:9"})
    return create_app(config, OpenAIEngine(config.serving), lambda adapter: Path()).openapi()


if __name__ == "__main__":
    RELEASED.write_text(json.dumps(interface(), indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"wrote {RELEASED}")
