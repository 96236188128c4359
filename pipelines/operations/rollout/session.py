"""One move of a rollout: the ledger and the registry that it needs, and what it checks and writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipelines.core.config import Config
from pipelines.core.errors import IntegrityError
from pipelines.core.facts.record import decision_facts
from pipelines.core.results import RolloutAnswer, RolloutResult
from pipelines.core.traffic_split import Adapter, Route
from pipelines.models import open_registry
from pipelines.policy.rollout.analysis import Analysis
from pipelines.stores import open_ledger
from pipelines.stores.ledger import Promotion
from pipelines.stores.locks import holding


@dataclass(frozen=True)
class Provenance:
    """Who asks for a move, why, in which run, and in which trace (W3C traceparent)."""

    actor: str
    reason: str
    run_id: str = ""
    traceparent: str = ""


@contextmanager
def rollout_session(config: Config) -> Iterator[RolloutSession]:
    """One move at a time. Beyond that, the ledger refuses a move from an old state."""
    with holding(config, "rollout"):
        yield RolloutSession(config)


class RolloutSession:
    """The ledger and the registry of one move. Opening it repairs the aliases."""

    def __init__(self, config: Config) -> None:
        self.config, self.ledger = config, open_ledger(config)
        self.registry = open_registry(config)
        self.repaired = self._align_aliases()

    def move(
        self,
        now: Promotion,
        name: str,
        route: Route,
        provenance: Provenance,
        analysis: Analysis | None = None,
    ) -> None:
        """Write the move to the ledger, then make the aliases follow it."""
        evidence = {"reasons": list(analysis.reasons), **analysis.evidence} if analysis else {}
        evidence |= {"traceparent": provenance.traceparent} if provenance.traceparent else {}
        self.ledger.add_promotion(
            now, name, route, provenance.reason, provenance.actor, provenance.run_id, evidence
        )
        self._align_aliases()

    def check_adapter(self, adapter: Adapter) -> None:
        """Raises IntegrityError unless the adapter and its base model are those that were registered."""
        registered = self.registry.version(adapter.version)
        if registered.digest != adapter.digest:
            raise IntegrityError(
                f"Version {adapter.version} was replaced: its digest is {registered.digest[:12]},"
                f" and the rollout is for {adapter.digest[:12]}.",
                "Start `promote` again: an approval holds for one content only.",
            )
        self.registry.fetch(adapter.version)
        self.check_base(adapter)

    def check_base(self, adapter: Adapter) -> None:
        """Raises IntegrityError unless the base model is the one that the adapter was trained on."""
        from pipelines.models.base import base_digest

        expected = self.registry.version(adapter.version).tags["base_digest"]
        if (found := base_digest(self.config)) != expected:
            raise IntegrityError(
                f"Version {adapter.version} was trained on the base model {expected[:12]}, and the base model"
                f" at {self.config.path(self.config.model.base)} is {found[:12]}.",
                "Put the base model back, or train again on this one.",
            )

    def other_baseline(self, version: str, production: Adapter | None) -> str | None:
        """Why a version cannot start: it was not measured against what is in production. None if it was."""
        registered = self.registry.version(version)
        measured = registered.measured_against
        if measured is None:  # an older version's night wrote it into its decision only
            decision = self.ledger.decision(registered.run_id)
            baseline = decision_facts(decision.facts).baseline if decision else None
            measured = baseline.digest if baseline else None
        if measured is None:
            return f"Nothing says what version {version} was measured against."
        if measured == (production.digest if production else ""):
            return None
        was, now = self._named(measured), self._named(production.digest if production else "")
        return f"Version {version} was measured against {was}, and {now} is in production now."

    def _named(self, digest: str) -> str:
        """The version with this digest, for people."""
        if not digest:
            return "the bare base model"
        found = [one.version for one in self.registry.versions() if one.digest == digest]
        return f"version {found[-1]}" if found else f"an adapter that is gone ({digest[:12]})"

    def result(
        self,
        command: str,
        answer: RolloutAnswer,
        headline: str,
        adapter: Adapter | None,
        analysis: Analysis | None = None,
        reasons: tuple[str, ...] = (),
    ) -> RolloutResult:
        """The result of a command, with the number of the newest move."""
        return RolloutResult(
            command=command,
            answer=answer,
            reasons=analysis.reasons if analysis else reasons,
            headline=headline,
            version=adapter.version if adapter else "",
            digest=adapter.digest if adapter else "",
            promotion=self.ledger.promotion().number,
            evidence=analysis.evidence if analysis else {},
        )

    def _align_aliases(self) -> list[str]:
        """Returns what was changed."""
        from pipelines.models.aliases import reconcile  # MLflow takes seconds; `assess_stage` needs none

        return reconcile(self.ledger.promotions(), self.registry)
