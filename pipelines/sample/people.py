"""The people of the sample: who they are, and what feedback they give."""

from __future__ import annotations

import numpy as np

from pipelines.core.config import Sample

PEOPLE = 300
LOCALES = ("en-GB", "en-US", "en-IN", "en-NG")
CHANNELS = ("web", "mobile", "phone")
OPT_OUT_SHARE = 0.02  # of people
CORRECTED_SHARE = 0.9  # of the wrong answers that were rated


def feedback_on(
    right: bool, wanted: str, share: float, rng: np.random.Generator
) -> tuple[int | None, str | None]:
    """Rating and correction: a right answer is liked, a wrong one disliked and mostly corrected.

    `wanted`: the right answer.
    """
    rated, corrected = rng.random(2) < (share, CORRECTED_SHARE)
    if not rated:
        return None, None
    return (1, None) if right else (-1, wanted if corrected else None)


def person(number: int, sample: Sample) -> dict[str, object]:
    """A person keeps tenant, language and opt-out from night to night."""
    rng = np.random.default_rng([sample.seed, 3, number])
    return {
        "subject_id": f"p-{number:04d}",
        "tenant": str(rng.choice(sample.tenants)),
        "locale": str(rng.choice(LOCALES, p=(0.4, 0.3, 0.2, 0.1))),
        "opt_out": bool(rng.random() < OPT_OUT_SHARE),
    }
