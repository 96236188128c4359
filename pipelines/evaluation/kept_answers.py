"""What a model answered, kept: the same model under the same code and settings answers the same again.

Production is asked the same frozen items every night, and last night's candidate is often production tonight.
`evaluate` and `fairness` ask the same suite at the same time: whoever comes second waits for the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipelines.core.cache import cached
from pipelines.core.code import code_digest, lock_digest, module_digest
from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.home import cache_folder
from pipelines.models.answering import Answering, Embedded
from pipelines.models.base import Messages
from pipelines.models.engine import Engine

FOLDER, ANSWERS = "answers", "answers.json"


class KeptAnswers:
    """Answers of one model, by a digest of all that they depend on.

    Labels and texts depend on the engine's code only, and steps share them. What a step computes itself also
    depends on that step's code.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine,
        adapter_digest: str,
        step: str,
        use: Callable[[], Engine] | None = None,
        answering: Answering | None = None,
    ) -> None:
        """`adapter_digest`: of what the engine answers with; empty for the bare base model.

        `use` returns the engine as it answers for the model, and may be slow: it is asked where nothing was
        kept. Without it the engine answers so already. `answering`: who answers questions, if not the engine.
        """
        self._engine, self.use = engine, use or (lambda: engine)
        self._answering = answering or Embedded(self.use)
        settings, module = config.model.model_dump(mode="json"), engine.module
        base = [engine.base_digest, engine.tokenizer_digest, engine.rendering.digest]
        ran_on = [module.device.type, str(module.dtype), lock_digest()]
        self._model, self._step = [adapter_digest, *base, settings, *ran_on], step
        self._folder = cache_folder(config.home, FOLDER)

    def of(self, name: str, asked: Any, compute: Callable[[], list[Any]]) -> list[Any]:
        """What was kept, or what `compute` returns, which is kept from then on. All are JSON values."""
        return self._kept(name, asked, code_digest(self._step), compute)

    def choices(self, conversations: Sequence[Messages], labels: Sequence[str]) -> list[str]:
        """A label for each conversation."""
        asked = [list(conversations), list(labels)]
        return self._answers("choices", asked, lambda: self._answering.choose(conversations, labels))

    def texts(self, conversations: Sequence[Messages], max_new_tokens: int) -> tuple[list[str], list[int]]:
        """A free answer for each conversation, and the tokens that each has."""
        asked = [list(conversations), max_new_tokens]
        found = self._answers("texts", asked, lambda: self._answering.generate(conversations, max_new_tokens))
        return found, self._engine.count_tokens(found)

    def documents(self, conversations: Sequence[Messages], schema: str, max_new_tokens: int) -> list[str]:
        """A JSON text by the schema (JSON text) for each conversation."""
        asked = [list(conversations), schema, max_new_tokens]
        return self._answers(
            "documents",
            asked,
            lambda: self._answering.documents(conversations, schema, max_new_tokens),
        )

    def _answers(self, name: str, asked: Any, compute: Callable[[], list[str]]) -> list[str]:
        return self._kept(name, [*asked, *self._answering.identity], module_digest(__name__), compute)

    def _kept(self, name: str, asked: Any, code: str, compute: Callable[[], list[Any]]) -> list[Any]:
        def measure(entry: Path) -> None:
            (entry / ANSWERS).write_text(json.dumps(compute()), encoding="utf-8")

        key = digest_of({"name": name, "model": [*self._model, code], "asked": asked})
        entry = cached(self._folder, key, measure, _is_whole)
        found: list[Any] = json.loads((entry / ANSWERS).read_text("utf-8"))
        return found


def _is_whole(entry: Path) -> bool:
    """Whether it can be read: a disk may lose a part of it."""
    try:
        return isinstance(json.loads((entry / ANSWERS).read_text("utf-8")), list)
    except (OSError, ValueError):
        return False
