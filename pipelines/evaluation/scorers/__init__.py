"""Scorers grade written answers. Each gives n answers n scores in [0, 1], of which more is better."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.core.config import Config
from pipelines.core.scorers import OWN
from pipelines.evaluation.scorers.common import Scorer, by_item
from pipelines.evaluation.scorers.json_answers import field_f1, schema_rule, valid_json
from pipelines.evaluation.scorers.numbers import numeric_rule
from pipelines.evaluation.scorers.own import own_rule
from pipelines.evaluation.scorers.texts import chrf, embedding_scorer, exact, normalised
from pipelines.evaluation.scorers.tool_calls import tool_calls
from pipelines.evaluation.scorers.words import rouge_l, token_f1

TOLERANCE = 1e-6  # of a number, relative to the larger of two
RULES = {
    "exact": exact,
    "normalised": normalised,
    "token_f1": token_f1,
    "rouge_l": rouge_l,
    "chrf": chrf,
    "valid_json": valid_json,
    "field_f1": field_f1,
    "tool_calls": tool_calls,
}
__all__ = ["Scorer", "scorers_of"]


def scorers_of(config: Config) -> dict[str, Scorer]:
    """The scorers of a profile by name, the primary one first: `evaluate.scorers`, or those of its kind."""
    return {name: _scorer(name, config) for name in config.scorers}


def _scorer(name: str, config: Config) -> Scorer:
    if name == "embedding":
        return embedding_scorer(config.model)
    return by_item(own_rule(name) if name.startswith(OWN) else _rule(name, config))


def _rule(name: str, config: Config) -> Callable[[str, str], float]:
    if name == "numeric":
        return numeric_rule(TOLERANCE)
    if name == "schema":
        return schema_rule(config.task.json_schema)
    return RULES[name]
