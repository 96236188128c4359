"""One request of a batch: chooses its next token and decides which text can be sent."""

from __future__ import annotations

from typing import Any

import torch

from gateway.engines.base import CompletionRequest, EngineError, FinishReason, Piece
from pipelines.models.engine import Engine, narrow

_UNFINISHED = "\ufffd"  # what an incomplete character decodes to


class BatchRow:
    """A request, the tokens of its answer so far, and the pieces that wait to be sent."""

    def __init__(self, request: CompletionRequest, adapter: str | None) -> None:
        self.request, self.adapter = request, adapter
        self.prompt: list[int] = []
        self.tokens: list[int] = []
        self.pieces: list[Piece | EngineError] = []
        self.done = self.gone = False

    def prepare(self, engine: Engine) -> None:
        """Turn messages and choices into tokens. Takes milliseconds: call it outside the event loop."""
        self._tokenizer: Any = engine.tokenizer
        (self.prompt,) = engine.prompts([list(map(dict, self.request.messages))])
        choices = list(self.request.choices or ())
        self._paths, self._options = engine.paths(choices), list(range(len(choices)))
        self._ends, self._sent = engine.end_tokens, ""
        self._generator = torch.Generator()
        if self.request.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(self.request.seed)

    def add_token(self, logits: torch.Tensor) -> None:
        """Append the next token. `logits` has shape (vocabulary,) and lies on the CPU."""
        if not logits.isfinite().all():
            found = f"Adapter {self.adapter} gives logits that are not finite."
            self.fail(EngineError(found, "Roll it back."))
        elif self._options:
            self._choose(logits)
        else:
            self._continue(logits)

    def fail(self, error: EngineError) -> None:
        """End the answer with an error."""
        self.done = True
        self.pieces.append(error)

    def _choose(self, logits: torch.Tensor) -> None:
        token, self._options = narrow(logits, self._paths, self._options, len(self.tokens))
        self.tokens.append(token)
        if len(self._options) == 1:
            choice = self._options[0]
            assert self.request.choices is not None
            # As in the lake's rows, the token that ends the text is not counted.
            self._finish(self.request.choices[choice], "stop", len(self._paths[choice]) - 1)

    def _continue(self, logits: torch.Tensor) -> None:
        token = self._sample(logits) if self.request.temperature > 0 else int(logits.argmax())
        self.tokens.append(token)
        text = self._tokenizer.decode(self.tokens, skip_special_tokens=True).lstrip()
        stops = [text.index(stop) for stop in self.request.stop if stop in text]
        if stops or token in self._ends:
            self._finish(text[: min(stops, default=len(text))].rstrip(), "stop", len(self.tokens))
        elif len(self.tokens) >= self.request.max_tokens:
            self._finish(text.rstrip(), "length", len(self.tokens))
        else:
            self._send(text[: len(text) - self._held_back(text)].rstrip())

    def _sample(self, logits: torch.Tensor) -> int:
        shares = (logits / self.request.temperature).softmax(-1)
        return int(torch.multinomial(shares, 1, generator=self._generator))

    def _held_back(self, text: str) -> int:
        """How many characters at the end may still change, or may be the beginning of a stop text."""
        longest = max(map(len, self.request.stop), default=1)
        sizes = range(min(longest - 1, len(text)), 0, -1)
        begun = next((n for n in sizes if any(stop.startswith(text[-n:]) for stop in self.request.stop)), 0)
        return max(begun, len(text) - len(text.rstrip(_UNFINISHED)))

    def _send(self, text: str) -> None:
        """Queue what is new in `text`, the answer so far."""
        if len(text) > len(self._sent):
            self.pieces.append(Piece(text[len(self._sent) :]))
            self._sent = text

    def _finish(self, text: str, reason: FinishReason, tokens_out: int) -> None:
        self.done = True
        self.pieces.append(Piece(text[len(self._sent) :], reason, len(self.prompt), tokens_out))
