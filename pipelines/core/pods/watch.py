"""Whether somebody has to act on a pod now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.core.pods.faults import ended
from pipelines.core.pods.start import broken_start
from pipelines.core.pods.status import PENDING, Document, at, condition, phase_of


@dataclass(frozen=True)
class StartLimits:
    """How long a pod may take to begin, in seconds."""

    schedule_s: float
    startup_s: float
    broken_start_s: float


def wants_attention(pod: Document, events: Sequence[Document], now: float, limits: StartLimits) -> bool:
    """Whether a pod is over, or does not begin in time. `now` is in Unix seconds."""
    if ended(pod, now):
        return True
    if phase_of(pod) != PENDING:
        return False
    waited = waited_s(pod, now)
    if waited > (limits.startup_s if _scheduled_at(pod) else limits.schedule_s):
        return True
    return waited > limits.broken_start_s and broken_start(pod, events) is not None


def needs_events(pod: Document, now: float, limits: StartLimits) -> bool:
    """Whether the events of a pod may say more than its status."""
    starting = phase_of(pod) == PENDING and _scheduled_at(pod) > 0
    return starting and waited_s(pod, now) > limits.broken_start_s


def waited_s(pod: Document, now: float) -> float:
    """Seconds since a pod that has not begun got its node, or since it was made."""
    return max(0.0, now - (_scheduled_at(pod) or at(pod.get("metadata", {}).get("creationTimestamp")) or now))


def _scheduled_at(pod: Document) -> float:
    scheduled = condition(pod, "PodScheduled")
    return at(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else 0.0
