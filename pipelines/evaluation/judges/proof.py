"""Ask a judge about people's choices, and see whether it decides as they did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.facts.judge import JudgeProof
from pipelines.evaluation.judges.ask import Asked, Pair, Verdict, ask
from pipelines.evaluation.judges.choices import Choice, choices_of
from pipelines.evaluation.judges.client import Budget
from pipelines.evaluation.judges.private import redacted
from pipelines.evaluation.judges.verdicts import judge_digest
from pipelines.evaluation.scorers.texts import chrf
from pipelines.policy.night.judge_proof import Compared, prove
from pipelines.stores import open_shared

PROOFS = "judge/proofs"  # below `shared_root`, one a night
THRESHOLDS = (
    "window_days", "min_agreement", "min_agreement_in_parts", "max_position_bias", "max_length_bias",
    "max_unreadable", "alpha",
)  # fmt: skip


def prove_judge(config: Config, night: date, budget: Budget) -> tuple[JudgeProof, Asked]:
    """The proof as of a night, which is kept. Replies of earlier proofs cost nothing.

    So a judge is proved anew on each night: another model, prompt, rubric or window asks what is new of it.
    """
    choices = choices_of(config, night)
    pairs = redacted(config, [choice.pair for choice in choices])
    asked = ask(config, pairs, budget)
    compared = [
        beside(choice, pair, verdict)
        for choice, pair, verdict in zip(choices, pairs, asked.verdicts, strict=True)
        if isinstance(verdict, Verdict)
    ]
    digest = proof_digest(config, pairs)
    proof = prove(compared, asked.unreadable, asked.unjudged, config.judge, digest, night)
    open_shared(config).write_bytes(f"{PROOFS}/{night}.json", proof.model_dump_json(indent=1).encode())
    return proof, asked


def proof_digest(config: Config, pairs: Sequence[Pair]) -> str:
    """Names what is proved: the judge, what is asked of it, and the choices that it is compared with."""
    asked = {name: getattr(config.judge, name) for name in THRESHOLDS}
    return digest_of([judge_digest(config), asked, sorted(map(_pair_digest, pairs))])


def _pair_digest(pair: Pair) -> str:
    return digest_of([list(pair.messages), pair.one, pair.other])


def beside(choice: Choice, pair: Pair, verdict: Verdict) -> Compared:
    """A verdict beside the choice of a person, who took `other`. Lengths are in characters."""
    longer = len(pair.other) - len(pair.one)
    return Compared(
        person=choice.person,
        agreement=(1 + verdict.won) / 2,
        first=verdict.first,
        longer=(longer > 0) - (longer < 0),
        alike=chrf(pair.one, pair.other),
        name=_pair_digest(pair),
    )
