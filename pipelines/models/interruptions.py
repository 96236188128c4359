"""How often a training was interrupted, from a note of each attempt in its scratch folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from pipelines.core.contract import Usage
from pipelines.core.facts.train import DoneAgain, Interruptions
from pipelines.core.files import replacing
from pipelines.models.checkpoints import COMPLETE

NOTES = "attempt-*.json"
NOTHING = DoneAgain(seconds=0.0, cpu_seconds=0.0, gpu_seconds=0.0)


class Attempt:
    """This attempt at a training. Its note says what would be done again if it ended now.

    That is what it used, but for the steps that its newest checkpoint kept. `used` is asked for what the
    process used so far. An attempt that is killed leaves its note behind.
    """

    def __init__(self, scratch: Path, used: Callable[[], Usage]) -> None:
        self._scratch, self._used = scratch, used
        self.name = NOTES.replace("*", uuid4().hex)
        self._file = scratch / self.name
        self._checkpoints = self._complete()
        self._began: DoneAgain | None = None  # what was used when the first step was reported
        self._last = self._kept = NOTHING
        self.note()

    def step(self) -> None:
        """A step was reported. Its checkpoint, if it gets one, is written after this."""
        self.note()
        self._last = self._now()
        self._began = self._began or self._last

    def note(self) -> None:
        """Write the note."""
        if (found := self._complete()) - self._checkpoints and self._began:
            self._kept = _minus(self._last, self._began)
        self._checkpoints = found
        with replacing(self._file) as partial:
            partial.write_text(_minus(self._now(), self._kept).model_dump_json())

    def finish(self) -> Interruptions | None:
        """The training is done: what its earlier attempts say."""
        self._file.unlink()
        notes = [DoneAgain.model_validate_json(file.read_bytes()) for file in self._scratch.glob(NOTES)]
        if not notes:
            return None
        sums = {name: sum(getattr(note, name) for note in notes) for name in DoneAgain.model_fields}
        return Interruptions(times=len(notes), **sums)

    def _now(self) -> DoneAgain:
        return DoneAgain(**self._used().model_dump(include=set(DoneAgain.model_fields)))

    def _complete(self) -> set[Path]:
        return set(self._scratch.glob(f"*/{COMPLETE}"))


def _minus(more: DoneAgain, less: DoneAgain) -> DoneAgain:
    parts = {name: getattr(more, name) - getattr(less, name) for name in DoneAgain.model_fields}
    return DoneAgain(**{name: max(0.0, round(value, 3)) for name, value in parts.items()})
