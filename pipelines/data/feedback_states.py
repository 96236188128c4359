"""The states of the lake's feedback, from what the ledger holds: trainings, promotions and rollbacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

from pipelines.core.facts.record import DecisionFacts, decision_facts
from pipelines.policy.night.row_states import RowStates, Training, row_states, stayed_in_production
from pipelines.stores.ledger import Decision, Ledger

ALWAYS_TRAINED = ("trained", "rejected", "waiting")
HELD = "held"  # before a training, or after one: then the adapter's digest is in the record


def trainings(ledger: Ledger, run_id: str) -> dict[str, Training]:
    """Run id -> its training, in the order of nights; without this run's own, and without dry runs."""
    return {one.run_id: _training(one, facts) for one, facts in _that_trained(ledger, run_id)}


def trained_sets(ledger: Ledger, run_id: str) -> dict[str, str]:
    """Identity of each set that a training of another run was trained on -> that run."""
    return {facts.training_set or "": one.run_id for one, facts in _that_trained(ledger, run_id)}


def _that_trained(ledger: Ledger, run_id: str) -> Iterator[tuple[Decision, DecisionFacts]]:
    for decision in ledger.decisions():
        facts = decision_facts(decision.facts)
        if decision.run_id != run_id and _trained(decision, facts):
            yield decision, facts


def feedback_states(
    ledger: Ledger, delivered: Mapping[date, str], known: Mapping[str, Training]
) -> RowStates:
    """The state of each delivery of the lake."""
    moves = [
        (move.move, move.route.production.digest if move.route.production else None)
        for move in ledger.promotions()
    ]
    return row_states(delivered, list(known.values()), stayed_in_production(moves))


def _trained(decision: Decision, facts: DecisionFacts) -> bool:
    if facts.measured_again:
        return False
    return decision.outcome in ALWAYS_TRAINED or (
        decision.outcome == HELD and facts.adapter_digest is not None
    )


def _training(decision: Decision, facts: DecisionFacts) -> Training:
    continued = facts.method == "continue" and facts.baseline is not None
    return Training(
        night=decision.night,
        adapter=facts.adapter_digest or "",
        parent=facts.baseline.digest if continued and facts.baseline else None,
        deliveries=facts.deliveries,
    )
