"""The moves of a rollout. Each is one append to the ledger; MLflow's aliases follow.

Every move first repairs what a crash left behind, and a move that was already made is not made again. So a
kill at any point, and then the same command, end in the same state, with each move once in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipelines.core.config import Config, Stage
from pipelines.core.contract import night_of
from pipelines.core.errors import InputError
from pipelines.core.results import RolloutAnswer, RolloutResult
from pipelines.core.traffic_split import (
    Adapter,
    Route,
    aborted,
    rolled_back,
    to_canary,
    to_production,
    to_shadow,
)
from pipelines.operations.rollout.assessment import analyse_stage
from pipelines.operations.rollout.session import Provenance, RolloutSession, rollout_session
from pipelines.policy.night.row_states import ROLLBACK
from pipelines.policy.rollout.analysis import RolloutDecision
from pipelines.stores import report_uri
from pipelines.stores.ledger import START, Promotion

PRODUCTION = "production"  # where the last stage leads
AGAIN = "The next night with new feedback trains its feedback again, on what is in production by then."


def start_shadow(config: Config, provenance: Provenance, version: str = "") -> RolloutResult:
    """Put a version in the shadow of production; without one, the version that waits as candidate.

    It starts only against what it was measured against. Where production has changed since, a named version
    raises InputError, and the waiting candidate goes on waiting: a night measures its feedback again.
    """
    with rollout_session(config) as session:
        found = session.registry.version(version) if version else session.registry.by_alias("candidate")
        if found is None:
            return session.result("shadow", RolloutAnswer.NOTHING, "no candidate waits", None)
        candidate, now = Adapter(found.version, found.digest), session.ledger.promotion()
        if now.route.production == candidate:
            headline = f"version {candidate.version} is in production already"
            return session.result("shadow", RolloutAnswer.NOTHING, headline, candidate)
        session.check_adapter(candidate)
        if now.route.in_rollout != candidate and (
            problem := session.other_baseline(found.version, now.route.production)
        ):
            if version:
                raise InputError(problem, f"{AGAIN} To do it now: {_again_now(found.run_id)}")
            return session.result("shadow", RolloutAnswer.NOTHING, problem, candidate, reasons=(AGAIN,))
        if now.route.in_rollout == candidate:
            headline = _already_in_rollout(config, candidate, now, provenance)
        else:
            session.move(now, "shadow", to_shadow(now.route, candidate), provenance)
            headline = f"version {candidate.version} is in rollout"
        report = report_uri(config, found.run_id)
        return session.result("shadow", RolloutAnswer.MOVED, headline, candidate).model_copy(
            update={"evidence": {"night": found.run_id, "report": report}}  # for whoever is asked to approve
        )


def advance(config: Config, provenance: Provenance, to: str, candidate: Adapter) -> RolloutResult:
    """Go on to a stage, or to production, if the stage before it has earned that by now.

    The candidate is bound to its digest: an approval of other content is void. Raises InputError when the
    stage before `to` is not under way.
    """
    with rollout_session(config) as session:
        moves, before = session.ledger.promotions(), _stage_before(config, to)
        now = moves[-1] if moves else START
        if _was_taken_out(moves, candidate):
            headline = f"the rollout of version {candidate.version} was ended: {now.reason}"
            return session.result("advance", RolloutAnswer.ABORT, headline, candidate)
        target = _route_at(config, now.route, to, candidate)
        if target == now.route:
            headline = f"version {candidate.version} is in {to}"
            return session.result("advance", RolloutAnswer.MOVED, headline, candidate)
        _require_stage(config, now.route, before, to)
        session.check_adapter(candidate)
        return _advance_by_analysis(session, moves, before, to, target, provenance)


def abort(config: Config, provenance: Provenance, candidate: Adapter | None = None) -> RolloutResult:
    """End the rollout (of this candidate, if one is named); production stays."""
    with rollout_session(config) as session:
        now = session.ledger.promotion()
        running = now.route.in_rollout
        if running is None or candidate not in (None, running):
            return session.result("abort", RolloutAnswer.NOTHING, "no such rollout is under way", candidate)
        session.move(now, "abort", aborted(now.route), provenance)
        headline = f"the rollout of version {running.version} is over"
        return session.result("abort", RolloutAnswer.MOVED, headline, running)


def rollback(config: Config, provenance: Provenance) -> RolloutResult:
    """Put back what answered before the last promotion, after checking its files. Twice changes nothing."""
    with rollout_session(config) as session:
        now = session.ledger.promotion()
        target = rolled_back(now.route)
        if target == now.route:
            headline = "there is nothing to go back to"
            return session.result("rollback", RolloutAnswer.NOTHING, headline, now.route.production)
        if target.production is not None:
            session.check_adapter(target.production)
        elif now.route.production is not None:  # back to the bare base model, on which production was trained
            session.check_base(now.route.production)
        session.move(now, ROLLBACK, target, provenance)
        headline = _rolled_back_headline(now.route, target)
        return session.result("rollback", RolloutAnswer.MOVED, headline, target.production)


def repair(config: Config) -> RolloutResult:
    """Make the aliases agree with the ledger."""
    with rollout_session(config) as session:
        headline = ", ".join(session.repaired) or "ledger and aliases agree"
        return session.result("reconcile", RolloutAnswer.MOVED, headline, None)


def _advance_by_analysis(
    session: RolloutSession,
    moves: Sequence[Promotion],
    before: Stage,
    to: str,
    target: Route,
    provenance: Provenance,
) -> RolloutResult:
    """Move, stay or abort, as the analysis of the stage under way says."""
    now, analysis = moves[-1], analyse_stage(session.config, moves, before)
    candidate = now.route.in_rollout
    assert candidate is not None
    if analysis.decision is RolloutDecision.CONTINUE:
        return session.result("advance", RolloutAnswer.CONTINUE, f"{to}: not yet", candidate, analysis)
    if analysis.decision is RolloutDecision.ABORT:
        why = replace(provenance, actor="judge", reason="; ".join(analysis.reasons))
        session.move(now, "abort", aborted(now.route), why, analysis)
        return session.result("advance", RolloutAnswer.ABORT, f"{before.name}: abort", candidate, analysis)
    session.move(now, to, target, provenance, analysis)
    headline = f"version {candidate.version} is in {to}"
    return session.result("advance", RolloutAnswer.MOVED, headline, candidate, analysis)


def _stage_before(config: Config, to: str) -> Stage:
    """The stage that leads to `to`. Raises ConfigError for an unknown one, InputError for the first."""
    stages = config.promote.stages
    if to == PRODUCTION:
        return stages[-1]
    place = stages.index(config.promote.stage(to))
    if place == 0:
        raise InputError(
            f"No stage comes before {to}, so a rollout cannot go on to it.", "Start it with `rollout-shadow`."
        )
    return stages[place - 1]


def _route_at(config: Config, route: Route, to: str, candidate: Adapter) -> Route:
    """The route table once the candidate is in `to`."""
    if to == PRODUCTION:
        return to_production(route, candidate)
    return to_canary(route, candidate, config.promote.stage(to).weight)


def _require_stage(config: Config, route: Route, before: Stage, to: str) -> None:
    """Raises InputError unless the stage before `to` is under way."""
    found = config.promote.stage_of(route)
    if found != before:
        raise InputError(
            f"A rollout goes to {to} from {before.name}, and it is in {found.name if found else 'no stage'}.",
            "Start `promote` again: somebody moved the route table.",
        )


def _was_taken_out(moves: Sequence[Promotion], candidate: Adapter) -> bool:
    """Whether the newest move took the candidate out of its rollout, and not into production."""
    if len(moves) < 2 or moves[-2].route.in_rollout != candidate:
        return False
    return candidate not in (moves[-1].route.in_rollout, moves[-1].route.production)


def _again_now(run_id: str) -> str:
    """The command that trains a night's feedback again, from what is in production."""
    night = night_of(run_id)
    return f"`nightshift nights --from {night} --to {night} --attempt 2 --set decide.force=true`."


def _already_in_rollout(config: Config, candidate: Adapter, now: Promotion, provenance: Provenance) -> str:
    """The candidate's stage, and who moved it there if another run did."""
    stage = config.promote.stage_of(now.route)
    headline = f"version {candidate.version} is in {stage.name if stage else 'rollout'} already"
    mover = f"the run {now.run_id}" if now.run_id else now.actor
    return headline if now.run_id == provenance.run_id else f"{headline}: {mover} moved it there"


def _rolled_back_headline(before: Route, after: Route) -> str:
    """What a rollback changed for users, and for a rollout that was under way."""
    name = f"version {after.production.version}" if after.production else "the bare base model"
    answers = f"{name} answers {'as before' if after.production == before.production else 'again'}"
    if not before.in_rollout:
        return answers
    return f"the rollout of version {before.in_rollout.version} ended; {answers}"
