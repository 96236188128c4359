"""What names a training set, so that no night trains on the same set twice."""

from __future__ import annotations

from typing import Any

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.facts.common import Baseline
from pipelines.policy.night.dataset import Rows

# A set that was trained on is worth another training once one of these changes.
IDENTIFYING = ("seed", "model", "task", "curate", "train", "evaluate", "fairness", "safety", "gate")


# Settings that came later. At their defaults they change nothing, so sets of older versions keep their names.
LATER = {"train": {"objective", "on", "beta"}}


def training_identity(config: Config, rows: Rows, parent: Baseline, suite: str) -> str:
    """Names the rows that may be drawn, the parent, and all settings that training and gate go by.

    Planted secrets and the order of a draw differ from night to night, and are no reason to train again.
    `suite` is the digest of its file.
    """
    return digest_of(
        {
            "rows": sorted([row["request_id"], row["answer"], *_preference(row)] for row in rows),
            "parent": [parent.kind, parent.digest],
            "suite": suite,
            "settings": identifying(config),
        }
    )


def _preference(row: dict[str, Any]) -> list[Any]:
    """What an objective other than sft learns of a row beside its answer."""
    return [[name, row[name]] for name in ("liked", "rejected") if name in row]


def identifying(config: Config) -> dict[str, Any]:
    found = config.model_dump(mode="json", include=set(IDENTIFYING))
    for section, names in LATER.items():
        defaults = type(getattr(config, section)).model_fields
        for name in names:
            if getattr(getattr(config, section), name) == defaults[name].default:
                del found[section][name]
    return found
