"""Measures probes: what base and candidate answer to the same conversations, in log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.core.probes import Probe
from pipelines.models.base import Messages
from pipelines.models.pair import CANDIDATE, PRODUCTION, ModelPair
from pipelines.policy.probes import by_distance

TOKENS = 4  # of an answer that are compared


def measured(models: ModelPair, conversations: Sequence[Messages]) -> list[tuple[float, Probe]]:
    """A probe of each conversation, with the distance of the candidate's answer from the base's, in nats.

    The farthest comes first. `models`: the bare base as production, and the candidate.
    """
    answers = {name: engine.beginnings(conversations, TOKENS) for name, engine in models}
    return by_distance(
        [
            Probe(messages=tuple(dict(turn) for turn in messages), adapter=adapter, base=base)
            for messages, adapter, base in zip(
                conversations, answers[CANDIDATE], answers[PRODUCTION], strict=True
            )
        ]
    )
