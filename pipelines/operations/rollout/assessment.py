"""How the stage under way does: what the analysis of its traffic says now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pipelines.core.config import Config, Stage
from pipelines.core.results import RolloutAnswer, RolloutResult
from pipelines.evaluation.tasks import task_of
from pipelines.operations.rollout_evidence import collect
from pipelines.policy.rollout.analysis import Analysis, RolloutDecision
from pipelines.policy.rollout.influence import analyse_people
from pipelines.policy.rollout.observations import Copies
from pipelines.stores import open_journal, open_ledger
from pipelines.stores.held_move import gateway_problems, held_move
from pipelines.stores.ledger import Promotion


def assess_stage(config: Config, stage_name: str) -> RolloutResult:
    """Analyse the stage that is under way. Changes nothing, and needs no registry.

    The answer is `nothing` without a rollout, and `abort` when another stage is under way.
    """
    stage, moves = config.promote.stage(stage_name), open_ledger(config).promotions()
    candidate = moves[-1].route.in_rollout if moves else None
    if candidate is None:
        return _without_analysis(RolloutAnswer.NOTHING, "no rollout is under way", moves)
    found = config.promote.stage_of(moves[-1].route)
    if found != stage:
        where = found.name if found else "a stage that is not configured"
        problem = f"the stage {stage.name} is not under way: version {candidate.version} is in {where}"
        return _without_analysis(RolloutAnswer.ABORT, problem, moves, (problem,))
    analysis, held = analyse_stage(config, moves, stage), held_move(config, moves[-1].number)
    return RolloutResult(
        command="judge",
        answer=RolloutAnswer(analysis.decision),
        reasons=(*([held] if held else []), *analysis.reasons),
        headline=f"{stage.name}: {analysis.decision}",
        version=candidate.version,
        digest=candidate.digest,
        promotion=moves[-1].number,
        evidence=analysis.evidence,
    )


def analyse_stage(config: Config, moves: Sequence[Promotion], stage: Stage) -> Analysis:
    """What the analysis says now of the rollout that the newest move is part of.

    Nothing goes on while a gateway has a problem: it may not serve what the analysis is about.
    """
    now = moves[-1]
    candidate, production = now.route.in_rollout, now.route.production
    assert candidate is not None
    seconds_in_stage = (datetime.now(UTC) - datetime.fromisoformat(now.at)).total_seconds()
    journal, met = open_journal(config), _moves_of_kind(moves, stage)
    traffic = collect(
        journal,
        datetime.fromisoformat(met[0].at),
        seconds_in_stage,
        candidate,
        production,
        task_of(config),
        config.promote.answers_per_person,
        config.promote.max_tenant_share,
    )
    copies = Copies(**journal.shadow_copies([move.number for move in met]))
    found = analyse_people(stage, config.promote, replace(traffic, copies=copies))
    if found.decision is RolloutDecision.PROMOTE and (problem := gateway_problems(config)):
        return replace(found, decision=RolloutDecision.CONTINUE, reasons=(problem, *found.reasons))
    return found


def _moves_of_kind(moves: Sequence[Promotion], stage: Stage) -> Sequence[Promotion]:
    """The moves since users first met the candidate; for a shadow, since it first answered.

    Canary stages add up.
    """
    is_canary = bool(stage.weight)
    return [move for move in _newest_rollout(moves) if bool(move.route.canary) == is_canary]


def _newest_rollout(moves: Sequence[Promotion]) -> Sequence[Promotion]:
    """The newest moves in a row with the same adapter in rollout."""
    first = len(moves)
    while first and moves[first - 1].route.in_rollout == moves[-1].route.in_rollout:
        first -= 1
    return moves[first:]


def _without_analysis(
    answer: RolloutAnswer, headline: str, moves: Sequence[Promotion], reasons: tuple[str, ...] = ()
) -> RolloutResult:
    return RolloutResult(
        command="judge", answer=answer, reasons=reasons, headline=headline, promotion=len(moves)
    )
