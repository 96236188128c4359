"""What a training says while it runs: lines in the log, and numbers to the tracker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from transformers import TrainerCallback

log = logging.getLogger("nightshift")
Report = Callable[[int, dict[str, float]], None]  # step, its numbers by name

_EVERY_S = 10.0
_LOGGED = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "eval_loss": "dev_loss",
}


class Progress(TrainerCallback):
    """Logs a line every few seconds, and reports every step's numbers."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._started = self._said = time.monotonic()
        self._first: tuple[int, float] | None = None  # step and tokens when the clock started

    def on_log(self, args, state, control, logs=None, **kwargs):  # type: ignore[no-untyped-def]
        values = {name: float(logs[key]) for key, name in _LOGGED.items() if key in (logs or {})}
        if not values:
            return
        self._report(state.global_step, values)
        if "dev_loss" in values:
            words = "train step %d/%d: dev loss %.3f"
            log.info(words, state.global_step, state.max_steps, values["dev_loss"])
        else:
            self._say(state.global_step, state.max_steps, values["loss"], float(logs.get("num_tokens", 0)))

    def _say(self, step: int, steps: int, loss: float, tokens: float) -> None:
        """The first step is not timed: it holds the model's warm-up."""
        now = time.monotonic()
        if self._first is None:
            self._started, self._first = now, (step, tokens)
        elif now - self._said >= _EVERY_S:
            seconds, (first, before) = now - self._started, self._first
            left = seconds / (step - first) * (steps - step)
            words = "train step %d/%d: loss %.3f, %.0f tokens/s, %.0f s left"
            log.info(words, step, steps, loss, (tokens - before) / seconds, left)
            self._said = now
