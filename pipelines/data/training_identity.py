"""What names a training set, so that no night trains on the same set twice."""

from __future__ import annotations

from typing import Any

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.facts.common import Baseline
from pipelines.policy.night.dataset import Rows

# A set that was trained on is worth another training once one of these changes.
IDENTIFYING = ("seed", "model", "task", "curate", "train", "evaluate", "fairness", "safety", "gate")


def training_identity(config: Config, rows: Rows, parent: Baseline, suite: str) -> str:
    """Names the rows that may be drawn, the parent, and all settings that training and gate go by.

    Planted secrets and the order of a draw differ from night to night, and are no reason to train again.
    `suite` is the digest of its file.
    """
    return digest_of(
        {
            "rows": sorted([row["request_id"], row["answer"]] for row in rows),
            "parent": [parent.kind, parent.digest],
            "suite": suite,
            "settings": identifying(config),
        }
    )


def identifying(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", include=set(IDENTIFYING))
