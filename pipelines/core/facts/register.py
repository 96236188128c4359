"""What `register` writes down. A dry run has no facts."""

from __future__ import annotations

from pipelines.core.facts.reading import Facts, Part


class ProbeFacts(Part):
    """How clearly the probes tell the adapter from its base. Distances in nats."""

    count: int
    candidates: int  # items of the suite that were asked
    clear: int  # of those, as far apart as register.probe_distance asks
    nearest: float  # distance of the probe that tells least
    farthest: float


class RegisterFacts(Facts):
    step = "register"
    name: str
    version: str
    adapter_digest: str
    previous_candidate: str | None
    nights: tuple[str, ...]
    tags: dict[str, str]
    probes: ProbeFacts | None = None  # older versions have none
