"""The moves of a rollout. The ledger is written first, by one append; MLflow's aliases follow it.

Every move first mends what a crash left behind, and a move that was made already is not made again. So a kill
at any point, and then the same command, ends in the same state with each move once in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.core.config import Config, Stage
from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.locks import holding
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
from pipelines.policy.rollout.analysis import Answer, Judgement, judge
from pipelines.stores import open_ledger, run_uri
from pipelines.stores.ledger import Promotion

PRODUCTION = "production"  # where the last stage leads


@dataclass(frozen=True)
class By:
    """Who moves, why, in which run, and in which trace (W3C traceparent)."""

    actor: str
    reason: str
    run_id: str = ""
    traceparent: str = ""


def begin(config: Config, by: By, version: str = "") -> RolloutResult:
    """Let a version answer in the shadow of production; without one, the version that waits as candidate."""
    with _moving(config) as desk:
        found = desk.registry.version(version) if version else desk.registry.by_alias("candidate")
        if found is None:
            return desk.says("shadow", RolloutAnswer.NOTHING, "no candidate waits", None)
        candidate, now = Adapter(found.version, found.digest), desk.ledger.promotion()
        if now.route.production == candidate:
            words = f"version {candidate.version} is in production already"
            return desk.says("shadow", RolloutAnswer.NOTHING, words, candidate)
        desk.check(candidate)
        if now.route.in_rollout == candidate:
            words = _already(config, candidate, now, by)
        else:
            desk.move(now, "shadow", to_shadow(now.route, candidate), by)
            words = f"version {candidate.version} is in rollout"
        report = f"{run_uri(config, found.run_id)}/report/report.html"
        return desk.says("shadow", RolloutAnswer.MOVED, words, candidate).model_copy(
            update={"evidence": {"night": found.run_id, "report": report}}  # for whoever is asked to approve
        )


def look(config: Config, stage_name: str) -> RolloutResult:
    """Ask the judge about the stage that is under way. Changes nothing, and needs no registry."""
    ledger, stage = open_ledger(config), config.promote.stage(stage_name)
    moves = ledger.promotions()
    candidate = moves[-1].route.in_rollout if moves else None
    if candidate is None:
        return RolloutResult(
            command="judge",
            answer=RolloutAnswer.NOTHING,
            reasons=(),
            headline="no rollout is under way",
            promotion=len(moves),
        )
    if (found := stage_of(config, moves[-1].route)) != stage:
        where = found.name if found else "a stage that is not configured"
        words = f"the stage {stage.name} is not under way: version {candidate.version} is in {where}"
        return RolloutResult(
            command="judge",
            answer=RolloutAnswer.ABORT,
            reasons=(words,),
            headline=words,
            promotion=len(moves),
        )
    judgement = _judged(config, moves, stage)
    return RolloutResult(
        command="judge",
        answer=RolloutAnswer(judgement.answer),
        reasons=judgement.reasons,
        headline=f"{stage.name}: {judgement.answer}",
        version=candidate.version,
        digest=candidate.digest,
        promotion=moves[-1].number,
        evidence=judgement.evidence,
    )


def advance(config: Config, by: By, to: str, candidate: Adapter) -> RolloutResult:
    """Go on to a stage (or to production) if the judge, asked again, still says so.

    The candidate is bound to its digest: an approval of other content is void. Raises InputError when the
    stage before is not under way.
    """
    with _moving(config) as desk:
        moves, before = desk.ledger.promotions(), _before(config, to)
        now = moves[-1] if moves else desk.ledger.promotion()
        if _ended(moves, candidate):
            words = f"the rollout of version {candidate.version} was ended: {now.reason}"
            return desk.says("advance", RolloutAnswer.ABORT, words, candidate)
        target = _target(config, now.route, to, candidate)
        if target == now.route:
            words = f"version {candidate.version} is in {to}"
            return desk.says("advance", RolloutAnswer.MOVED, words, candidate)
        if stage_of(config, now.route) != before:
            found = stage_of(config, now.route)
            raise InputError(
                f"the stage {before.name} under way before {to}",
                found.name if found else "no rollout",
                "Somebody moved the route table: start `promote` again.",
            )
        desk.check(candidate)
        judgement = _judged(config, moves, before)
        if judgement.answer is Answer.CONTINUE:
            return desk.says("advance", RolloutAnswer.CONTINUE, f"{to}: not yet", candidate, judgement)
        if judgement.answer is Answer.ABORT:
            desk.move(
                now,
                "abort",
                aborted(now.route),
                By("judge", "; ".join(judgement.reasons), by.run_id, by.traceparent),
                judgement,
            )
            return desk.says("advance", RolloutAnswer.ABORT, f"{before.name}: abort", candidate, judgement)
        desk.move(now, to, target, by, judgement)
        return desk.says(
            "advance", RolloutAnswer.MOVED, f"version {candidate.version} is in {to}", candidate, judgement
        )


def abort(config: Config, by: By, candidate: Adapter | None = None) -> RolloutResult:
    """End the rollout (of this candidate, if one is named); production stays."""
    with _moving(config) as desk:
        now = desk.ledger.promotion()
        running = now.route.in_rollout
        if running is None or candidate not in (None, running):
            return desk.says("abort", RolloutAnswer.NOTHING, "no such rollout is under way", candidate)
        desk.move(now, "abort", aborted(now.route), by)
        return desk.says(
            "abort", RolloutAnswer.MOVED, f"the rollout of version {running.version} is over", running
        )


def rollback(config: Config, by: By) -> RolloutResult:
    """Put back what answered before the last promotion, once it is known to load. Twice changes nothing."""
    with _moving(config) as desk:
        now = desk.ledger.promotion()
        target = rolled_back(now.route)
        if target == now.route:
            words = "there is nothing to go back to"
            return desk.says("rollback", RolloutAnswer.NOTHING, words, now.route.production)
        if target.production is not None:
            desk.check(target.production)
        elif now.route.production is not None:  # back to the bare base, which today's adapter stands on
            desk.check_base(now.route.production)
        desk.move(now, "rollback", target, by)
        return desk.says("rollback", RolloutAnswer.MOVED, _gone_back(now.route, target), target.production)


def repair(config: Config) -> RolloutResult:
    """Make the aliases agree with the ledger."""
    with _moving(config) as desk:
        words = ", ".join(desk.mended) or "ledger and aliases agree"
        return desk.says("reconcile", RolloutAnswer.MOVED, words, None)


class _Desk:
    """The ledger and the registry of one move."""

    def __init__(self, config: Config) -> None:
        from pipelines.models import open_registry

        self.config, self.ledger = config, open_ledger(config)
        self.registry = open_registry(config)
        self.mended = self.reconcile()

    def reconcile(self) -> list[str]:
        from pipelines.models.aliases import reconcile

        return reconcile(self.ledger.promotions(), self.registry)

    def move(
        self, now: Promotion, name: str, route: Route, by: By, judgement: Judgement | None = None
    ) -> None:
        evidence = {"reasons": list(judgement.reasons), **judgement.evidence} if judgement else {}
        evidence |= {"traceparent": by.traceparent} if by.traceparent else {}
        self.ledger.add_promotion(now, name, route, by.reason, by.actor, by.run_id, evidence)
        self.reconcile()

    def check(self, adapter: Adapter) -> None:
        """Its files are those that were registered and agreed on, and so is the base model below them."""
        registered = self.registry.version(adapter.version)
        if registered.digest != adapter.digest:
            raise IntegrityError(
                f"version {adapter.version} with digest {adapter.digest[:12]}",
                registered.digest[:12],
                "It was replaced, so what was agreed on is void: start `promote` again.",
            )
        self.registry.fetch(adapter.version)
        self.check_base(adapter)

    def check_base(self, adapter: Adapter) -> None:
        """The base model is the one that the adapter was trained on."""
        from pipelines.models.pair import base_digest

        expected = self.registry.version(adapter.version).tags["base_digest"]
        if (found := base_digest(self.config)) != expected:
            raise IntegrityError(
                f"the base model {expected[:12]} of version {adapter.version}",
                f"{found[:12]} at {self.config.path(self.config.model.base)}",
                "Put the base model back, or train again on this one.",
            )

    def says(
        self,
        command: str,
        answer: RolloutAnswer,
        headline: str,
        adapter: Adapter | None,
        judgement: Judgement | None = None,
    ) -> RolloutResult:
        return RolloutResult(
            command=command,
            answer=answer,
            reasons=judgement.reasons if judgement else (),
            headline=headline,
            version=adapter.version if adapter else "",
            digest=adapter.digest if adapter else "",
            promotion=self.ledger.promotion().number,
            evidence=judgement.evidence if judgement else {},
        )


@contextmanager
def _moving(config: Config) -> Iterator[_Desk]:
    """One move at a time on this machine; across machines the ledger refuses a stale one."""
    with holding(config.home, "rollout"):
        yield _Desk(config)


def _already(config: Config, candidate: Adapter, now: Promotion, by: By) -> str:
    """Where the candidate is in its rollout, and who moved it there if it was another run."""
    stage = stage_of(config, now.route)
    words = f"version {candidate.version} is in {stage.name if stage else 'rollout'} already"
    other = f"the run {now.run_id}" if now.run_id else now.actor
    return words if now.run_id == by.run_id else f"{words}: {other} moved it there"


def _gone_back(before: Route, after: Route) -> str:
    """What a rollback did, in words: to users, and to a rollout under way."""
    name = f"version {after.production.version}" if after.production else "the bare base model"
    ended = f"the rollout of version {before.in_rollout.version} ended" if before.in_rollout else ""
    answers = f"{name} answers {'as before' if after.production == before.production else 'again'}"
    return f"{ended}; {answers}" if ended else answers


def stage_of(config: Config, route: Route) -> Stage | None:
    """The configured stage that a route is in."""
    if route.in_rollout is None:
        return None
    weight = route.canary_weight if route.canary else 0.0
    return next((stage for stage in config.promote.stages if stage.weight == weight), None)


def _before(config: Config, to: str) -> Stage:
    """The stage that leads to `to`. Raises ConfigError for an unknown one."""
    stages = config.promote.stages
    if to == PRODUCTION:
        return stages[-1]
    place = stages.index(config.promote.stage(to))
    if place == 0:
        raise InputError("a stage after the first", to, "A rollout begins with `rollout-shadow`.")
    return stages[place - 1]


def _target(config: Config, route: Route, to: str, candidate: Adapter) -> Route:
    if to == PRODUCTION:
        return to_production(route, candidate)
    return to_canary(route, candidate, config.promote.stage(to).weight)


def _ended(moves: list[Promotion], candidate: Adapter) -> bool:
    """Whether the newest move took the candidate out of its rollout, and not into production."""
    if len(moves) < 2 or moves[-2].route.in_rollout != candidate:
        return False
    return candidate not in (moves[-1].route.in_rollout, moves[-1].route.production)


def _judged(config: Config, moves: list[Promotion], stage: Stage) -> Judgement:
    """What the judge says now of the rollout that the newest move is part of."""
    from pipelines.operations.rollout_evidence import seen

    now = moves[-1]
    candidate = now.route.in_rollout
    assert candidate is not None
    phase = [move for move in _rollout_of(moves) if bool(move.route.canary) == bool(stage.weight)]
    since = datetime.fromisoformat(phase[0].at)
    seconds = (datetime.now(UTC) - datetime.fromisoformat(now.at)).total_seconds()
    rules, production = config.promote, now.route.production
    traffic = seen(config.home, since, seconds, candidate, production, rules.answers_per_person)
    return judge(stage, rules, traffic)


def _rollout_of(moves: list[Promotion]) -> list[Promotion]:
    """The newest moves in a row that have the same adapter in rollout."""
    first = len(moves)
    while first and moves[first - 1].route.in_rollout == moves[-1].route.in_rollout:
        first -= 1
    return moves[first:]
