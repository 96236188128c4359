"""One request of a batch: chooses its next token and decides which text can be sent."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from gateway.engines.base import CompletionRequest, EngineError, FinishReason, Piece, RequestRefused
from pipelines.core.conversations import Message
from pipelines.core.probes import Token
from pipelines.core.tools import tools_in
from pipelines.models.engine import Engine, narrow, token_of
from pipelines.models.grammar import Grammar, SchemaRefused
from pipelines.models.rendering import CannotRender, TooLong
from pipelines.models.turns import beginning_at

MOST_PROBLEM = 300  # characters of a template's message that are passed on
COLDEST = 1e-4  # below this a temperature means greedy: the likeliest token has all the weight anyway
log = logging.getLogger("nightshift.gateway")
_UNFINISHED = "\ufffd"  # what an incomplete character decodes to


class BatchRow:
    """A request, the tokens of its answer so far, and the pieces that wait to be sent."""

    def __init__(self, request: CompletionRequest, adapter: str | None) -> None:
        self.request, self.adapter = request, adapter
        self.prompt: list[int] = []
        self.tokens: list[int] = []
        self._told: list[Token] = []
        self.pieces: list[Piece | EngineError | RequestRefused] = []
        self.done = self.gone = False
        self.broken_by: Exception | None = None  # the step that failed for this row even alone

    def prepare(self, engine: Engine, grammar: Grammar | None = None) -> None:
        """Turn messages and choices into tokens. Takes milliseconds: call it outside the event loop.

        Raises RequestRefused for a request that the model cannot work on.
        """
        self._tokenizer: Any = engine.tokenizer
        self.prompt, self._dropped_turns = _prompt(engine, self.request)
        self._most = min(self.request.max_tokens, _room(engine, self.prompt))
        self._choices = list(dict.fromkeys(self.request.choices or ()))
        self._paths, self._options = engine.paths(self._choices), list(range(len(self._choices)))
        _check_paths(self._paths)
        self._grammar = grammar
        self._rendering, self._tools = engine.rendering, _tools(self.request)
        self._stops = [stop for stop in self.request.stop if stop]
        self._ends, self._sent = engine.end_tokens, ""
        self._end_tokens = len(engine.rendering.end_ids)
        self._generator = torch.Generator()
        if self.request.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(self.request.seed % 2**63)  # torch takes no larger one

    def take(self, logits: torch.Tensor) -> None:
        """Append the next token. Whatever is wrong with this row ends this row alone.

        `logits` has shape (vocabulary,) and lies on the CPU.
        """
        try:
            self.add_token(logits)
        except SchemaRefused as error:
            self.fail(RequestRefused("invalid_request", str(error)))
        except Exception as error:  # of any kind: the other rows of the batch go on
            log.exception("a row of the batch failed")
            self.fail(RequestRefused("invalid_request", f"the engine cannot work on this request: {error!r}"))

    def add_token(self, logits: torch.Tensor) -> None:
        """Append the next token. `logits` has shape (vocabulary,) and lies on the CPU."""
        if not logits.isfinite().all():
            found = f"Adapter {self.adapter} gives logits that are not finite."
            self.fail(EngineError(found, "Roll it back."))
        elif self._options:
            self._choose(logits)
        else:
            self._continue(logits)

    def fail(self, error: EngineError | RequestRefused) -> None:
        """End the answer with an error."""
        self.done = True
        self.pieces.append(error)

    def _choose(self, logits: torch.Tensor) -> None:
        token, self._options = narrow(logits, self._paths, self._options, len(self.tokens))
        self.tokens.append(token)
        if len(self._options) == 1:
            choice = self._options[0]
            # As in the lake's rows, the end of the turn is not counted.
            self._finish(self._choices[choice], "stop", len(self._paths[choice]) - self._end_tokens)

    def _continue(self, logits: torch.Tensor) -> None:
        allowed = self._grammar.allowed(logits) if self._grammar else logits
        token = self._sample(allowed) if self.request.temperature >= COLDEST else int(allowed.argmax())
        self.tokens.append(token)
        if self._grammar:
            self._grammar.take(token)
        if self.request.logprobs:
            self._told.append(token_of(self._tokenizer, logits, token, self.request.top_logprobs))
        text = self._tokenizer.decode(self.tokens, skip_special_tokens=True).lstrip()
        stops = [text.index(stop) for stop in self._stops if stop in text]
        if stops or token in self._ends or (self._grammar and self._grammar.is_whole):
            self._finish(text[: min(stops, default=len(text))].rstrip(), "stop", len(self.tokens))
        elif len(self.tokens) >= self._most:
            self._finish(text.rstrip(), "length", len(self.tokens))
        else:
            self._send(text[: len(text) - self._held_back(text)].rstrip())

    def _sample(self, logits: torch.Tensor) -> int:
        # Of the differences to the likeliest, so that a low temperature does not overflow.
        shares = ((logits - logits.max()) / self.request.temperature).softmax(-1)
        return int(torch.multinomial(shares, 1, generator=self._generator))

    def _held_back(self, text: str) -> int:
        """How many characters at the end may still change, or may begin a stop text or a call."""
        longest = max(map(len, self._stops), default=1)
        sizes = range(min(longest - 1, len(text)), 0, -1)
        begun = next((n for n in sizes if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)
        calls = len(text) - self._rendering.calls.held_from(text) if self._tools else 0
        return max(begun, calls, len(text) - len(text.rstrip(_UNFINISHED)))

    def _send(self, text: str) -> None:
        """Queue what is new in `text`, the answer so far."""
        if len(text) > len(self._sent):
            self.pieces.append(Piece(text[len(self._sent) :], dropped_turns=self._dropped_turns))
            self._sent = text

    def _finish(self, text: str, reason: FinishReason, tokens_out: int) -> None:
        self.done = True
        text, calls = self._rendering.calls.read(text, self._tools) if self._tools else (text, [])
        calls = calls if self.request.parallel_calls else calls[:1]
        reason = "tool_calls" if calls and reason == "stop" else reason
        rest, counts = text[len(self._sent) :], (len(self.prompt), tokens_out)
        self.pieces.append(Piece(rest, reason, *counts, self._dropped_turns, tuple(calls), tuple(self._told)))


def _prompt(engine: Engine, request: CompletionRequest) -> tuple[list[int], int]:
    """The prompt's tokens, and how many of the oldest turns had to go. Raises RequestRefused."""
    messages = [dict(message) for message in request.messages]
    try:
        if len(least := _least(messages)) < len(messages):  # before all the ways to shorten it are tried
            with suppress(CannotRender):
                engine.rendering.prompt(least)
        prompt = engine.rendering.prompt(messages)
    except TooLong as error:
        found = (
            f"the last turn and the system prompt have {error.tokens} tokens, and {error.most} are the most"
        )
        raise RequestRefused("context_length_exceeded", found) from error
    except CannotRender as error:
        raise RequestRefused("invalid_request", str(error)[:MOST_PROBLEM]) from error
    return prompt.ids, prompt.dropped_turns


def _tools(request: CompletionRequest) -> set[str]:
    """The names of the tools that the answer may call. Raises RequestRefused for what cannot be promised."""
    tools = [tool["function"] for tool in tools_in(request.messages)]
    if not request.must_call and (strict := next((tool for tool in tools if tool.get("strict")), None)):
        found = (
            f"the tool {strict['name']} is strict, and this engine binds calls to their schemas only where"
        )
        raise RequestRefused(
            "invalid_request",
            f'{found} tool_choice is "required" or names a tool: send that, or leave strict out',
        )
    return {tool["name"] for tool in tools}


def _least(messages: Sequence[Message]) -> list[Message]:
    """What stays of a conversation that is too long: the system's turns, the tools, and the last question."""
    last = max((place for place, turn in enumerate(messages) if turn["role"] == "user"), default=0)
    return beginning_at(messages, last)


def _room(engine: Engine, prompt: Sequence[int]) -> int:
    """How many tokens the answer may have. Raises RequestRefused for a prompt that the model cannot read."""
    context = getattr(engine.module.config, "max_position_embeddings", None) or 2**31
    if not prompt or max(prompt) >= engine.module.get_input_embeddings().num_embeddings:
        raise RequestRefused("invalid_request", "the messages hold no text that this model knows")
    if len(prompt) >= context:
        found = f"the model reads {context} tokens at most, and the messages have {len(prompt)}"
        raise RequestRefused("context_length_exceeded", found)
    return int(context) - len(prompt)


def _check_paths(paths: Sequence[tuple[int, ...]]) -> None:
    """Raises RequestRefused unless decoding can tell all choices apart: none is the beginning of another."""
    known = set(paths)
    begun = any(path[:end] in known for path in paths for end in range(1, len(path)))
    if begun or len(known) < len(paths):
        raise RequestRefused("invalid_request", "two of the choices have the same tokens: give distinct ones")
