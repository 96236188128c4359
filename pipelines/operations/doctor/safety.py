"""The judge of safety that a profile names: does it answer, and has it the labels?"""

from __future__ import annotations

from pipelines.core.config import Config
from pipelines.core.errors import NightshiftError
from pipelines.operations.doctor.finding import Finding, failure

ABOUT, GREETING = "safety", "Good morning."


def look_at_safety_judge(config: Config) -> list[Finding]:
    """Asks a moderation endpoint once, and reads a classifier's labels; nothing for the packaged judges."""
    moderation, classifier = config.safety.moderation, config.safety.classifier
    try:
        if moderation.url:
            from pipelines.evaluation.moderation import ModerationEndpoint

            ModerationEndpoint(moderation.model_copy(update={"attempts": 1})).scores([GREETING])
            return [_ok(f"The moderation endpoint at {moderation.url} answers", moderation.languages)]
        if classifier.model:
            from pipelines.evaluation.harm_classifier import check_labels

            check_labels(classifier, config.path(classifier.model))
            return [_ok(f"The classifier {classifier.model} has the labels", classifier.languages)]
    except NightshiftError as error:
        return [failure(ABOUT, error)]
    return []


def _ok(said: str, languages: tuple[str, ...]) -> Finding:
    read = ", ".join(languages)
    return Finding("ok", ABOUT, f"{said}. Answers in other languages than {read} stay unclear.")
