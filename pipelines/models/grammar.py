"""Answers that follow a JSON schema: which tokens may come next, from llguidance.

Source: llguidance (https://github.com/guidance-ai/llguidance), which vLLM and llama.cpp use too. Nothing is
added to an answer: each token is the likeliest, or is drawn, among those that the schema allows.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cached_property
from threading import Lock

import numpy as np
import torch
from cachetools import LRUCache
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer

from pipelines.core.errors import NightshiftError
from pipelines.models import schema_check
from pipelines.models.engine import Engine

# Between the parts of an answer: spaces, or a line's end with spaces. A model could go on with more forever.
WHITE_SPACE = r"\n {0,16}| {1,16}"
REMEDY = "Send a simpler JSON schema."
PATIENCE_S = 20.0  # for a check on a busy machine
KEPT = 256  # checks of schemas, as an application sends the same one again and again


class SchemaRefused(NightshiftError):
    """The schema is no JSON schema, uses a keyword that is not known here, or is too complex."""


class Grammars:
    """Makes grammars for one engine. May be called from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._problems: LRUCache[str, str] = LRUCache(KEPT)  # of each schema that was checked, "" none
        self._lock = Lock()

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        """Takes about a second for a large vocabulary, so it is made once, when it is first needed."""
        known, ends = self._engine.tokenizer, sorted(self._engine.end_tokens)
        slices = LLTokenizer.json_slices()
        return from_tokenizer(known, n_vocab=len(known), eos_token=ends, slices=slices)

    def knows(self, schema: str) -> bool:
        """Whether the schema (JSON text) was checked, so that `of` takes milliseconds."""
        with self._lock:
            return schema in self._problems

    def check(self, schema: str) -> None:
        """Find out whether a schema can be used. Takes seconds for one that is meant to."""
        problem = _problem(_grammar(schema))
        with self._lock:
            self._problems[schema] = problem
        _ = self._tokenizer  # made here, where nobody else waits

    def of(self, schema: str) -> Grammar:
        """The grammar of one answer. Raises SchemaRefused."""
        if not self.knows(schema):
            self.check(schema)
        with self._lock:
            problem = self._problems.get(schema, "")
        if problem:
            raise _refused(problem)
        limits = schema_check.limits()
        return Grammar(LLMatcher(self._tokenizer, _grammar(schema), log_level=0, limits=limits))


class Grammar:
    """How far one answer is, and what may follow. Not thread-safe."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher
        self._check()

    @property
    def is_whole(self) -> bool:
        """Whether nothing more can follow."""
        return bool(self._matcher.is_stopped())

    def allowed(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits (vocabulary,) with minus infinity where the schema allows no token."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check()
        mask = np.unpackbits(bits, bitorder="little")[: len(logits)]
        mask = np.pad(mask, (0, len(logits) - len(mask))).astype(bool)
        return logits.masked_fill(~torch.from_numpy(mask), -torch.inf)

    def take(self, token: int) -> None:
        """Note the next token. Raises SchemaRefused where the schema proves too complex."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if found := self._matcher.get_error():
            raise _refused(found)


def _grammar(schema: str) -> str:
    """Raises SchemaRefused."""
    try:
        return LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_pattern": WHITE_SPACE})
    except ValueError as error:
        raise _refused(str(error)) from error


def _problem(grammar: str) -> str:
    """What is wrong with a grammar, "" nothing, from a process that can be stopped."""
    command = [sys.executable, schema_check.__file__]
    try:
        done = subprocess.run(command, input=grammar, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return "it takes too long to work out"
    return done.stdout if done.returncode == 0 else "it takes too much time or memory to work out"


def _refused(problem: str) -> SchemaRefused:
    words = problem.removesuffix("<non-verbose/>").strip().rstrip(".")
    return SchemaRefused(f"The schema cannot be used: {words[:200]}.", REMEDY)
