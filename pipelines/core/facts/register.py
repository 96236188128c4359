"""What `register` writes down. A dry run has no facts."""

from __future__ import annotations

from pipelines.core.facts.reading import Facts


class RegisterFacts(Facts):
    step = "register"
    name: str
    version: str
    adapter_digest: str
    previous_candidate: str | None
    nights: tuple[str, ...]
    tags: dict[str, str]
