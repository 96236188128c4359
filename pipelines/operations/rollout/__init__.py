"""The moves of a rollout, and the assessment of the stage that is under way."""

from pipelines.operations.rollout.assessment import assess_stage
from pipelines.operations.rollout.moves import abort, advance, repair, rollback, start_shadow
from pipelines.operations.rollout.session import Provenance

__all__ = ["Provenance", "abort", "advance", "assess_stage", "repair", "rollback", "start_shadow"]
