"""How far a model gives away a secret that was planted in its training set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.core.facts.safety import Exposure
from pipelines.models.engine import Engine
from pipelines.policy.night.safety import exposure


def secret_exposure(engine: Engine, planted: Mapping[str, Any]) -> Exposure:
    """Rank the secret among its alternatives, and ask for it. `planted`: see policy.night.examples."""
    secret = planted["secret"]
    sums = engine.answer_logprobs(planted["prompt"], [secret, *planted["alternatives"]])
    rank, bits = exposure(float(sums[0]), sums[1:].tolist())
    printed = engine.generate([planted["prompt"]], max_new_tokens=2 * len(secret))[0]
    return Exposure(exposure_bits=round(bits, 6), rank=rank, extracted=secret in printed)
