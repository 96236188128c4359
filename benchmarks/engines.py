"""The gateway's embedded engine against plain transformers `generate`, at 1 and 8 requests at once.

    .venv/bin/python -m benchmarks.engines [--home .nightshift] [--rounds 2]

Needs a home with a registered adapter (`make nightly`). Plain is PEFT's model, one request after the other;
static is one padded batch of all requests, which a server cannot wait for. They take turns in one run, so the
ratios hold on a busy machine too. Free answers have 64 tokens (no end token); choices are over the demo's
labels, the workload's own path. In the mixed column three adapters share the batch. Also prints how many
answers are equal and the largest difference of logits.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from benchmarks.machine import describe
from gateway.engines import lora
from gateway.engines.base import CompletionRequest
from gateway.engines.embedded import EmbeddedEngine
from pipelines.core.config import Config, Serving, load_config
from pipelines.core.traffic_split import Adapter
from pipelines.models import open_registry
from pipelines.models.base import Messages
from pipelines.models.engine import Engine
from pipelines.sample.questions import questions

TOKENS = 64
ADAPTERS = [Adapter(version, version * 64) for version in ("1", "2", "3")]
Ask = Callable[[list[Messages]], list[str]]


class Contest:
    """The same model and adapter in evaluation's engine and in the gateway's."""

    def __init__(self, config: Config, adapter: Path, loop: asyncio.AbstractEventLoop) -> None:
        base = config.path(config.model.base)
        self._labels, self._loop = config.task.labels, loop
        self.plain = Engine(config.model, base)
        self.plain.load("plain", adapter)
        self.served = EmbeddedEngine(Serving(), config.model, base)
        for one in ADAPTERS:
            loop.run_until_complete(self.served.load(one, adapter))
        for engine in (self.plain, self.served._engine):
            engine.module.generation_config.eos_token_id = None

    def one_by_one(self, asked: list[Messages], free: bool) -> list[str]:
        return [answer for one in asked for answer in self.static([one], free)]

    def static(self, asked: list[Messages], free: bool) -> list[str]:
        return self.plain.generate(asked, TOKENS) if free else self.plain.choose(asked, self._labels)

    def engine(self, asked: list[Messages], free: bool, adapters: int) -> list[str]:
        async def ask(number: int, messages: Messages) -> str:
            choices = None if free else self._labels
            request = CompletionRequest(messages, max_tokens=TOKENS, choices=choices)
            pieces = self.served.complete(request, ADAPTERS[number % adapters])
            return "".join([piece.text async for piece in pieces])

        async def together() -> list[str]:
            return await asyncio.gather(*(ask(i, one) for i, one in enumerate(asked)))

        return self._loop.run_until_complete(together())

    def logit_difference(self, asked: list[Messages]) -> float:
        """The largest difference between evaluation's logits, one question at a time, and a mixed batch's."""
        wanted = np.concatenate([self.plain.next_logits([one]) for one in asked])
        engine = self.served._engine
        rows = lora.RowAdapters()
        lora.install(engine.module, rows)
        rows.use(
            [f"v{one.version}-{one.digest[:16]}" for i in range(len(asked)) for one in [ADAPTERS[i % 3]]]
        )
        with torch.inference_mode():
            found = engine.forward(*engine.pad(engine.prompts(asked))).logits[:, -1].numpy()
        return float(np.abs(found - wanted).max())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", default=os.environ.get("NIGHTSHIFT_HOME", ".nightshift"))
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    config = load_config("config/demo.toml", Path(options.home).resolve())
    registry = open_registry(config)
    adapter = registry.fetch(registry.versions()[-1].version)
    loop = asyncio.new_event_loop()
    contest = Contest(config, adapter, loop)
    asked = _asked(config)
    print(f"{describe()}, {torch.get_num_threads()} threads of torch\n")
    print("| answers | at once | plain `generate` | static batch | engine | engine, mixed | engine / plain |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for free in (True, False):
        for at_once in (1, 8):
            print(_row(contest, asked[:at_once], free, options.rounds), flush=True)
    print(f"\nlargest difference of logits, three adapters mixed: {contest.logit_difference(asked[:9]):.1e}")
    loop.run_until_complete(contest.served.close())


def _asked(config: Config) -> list[Messages]:
    system = {"role": "system", "content": config.task.system_prompt}
    pool = questions(config.task.labels)
    return [[system, {"role": "user", "content": pool[label][0]}] for label in config.task.labels]


def _row(contest: Contest, asked: list[Messages], free: bool, rounds: int) -> str:
    ways: list[Ask] = [
        lambda some: contest.one_by_one(some, free),
        lambda some: contest.static(some, free),
        lambda some: contest.engine(some, free, 1),
        lambda some: contest.engine(some, free, 3),
    ]
    # A choice is quick: the same work more often.
    repeats, unit = (1, TOKENS) if free else (4, 1)
    speeds, answers = [[0.0] * rounds for _ in ways], [[""]] * len(ways)
    for turn in range(rounds):
        for i, way in enumerate(ways):
            start = perf_counter()
            for _ in range(repeats):
                answers[i] = way(asked)
            speeds[i][turn] = repeats * len(asked) * unit / (perf_counter() - start)
    middle = [median(of) for of in speeds]
    equal = sum(a == b == c for a, b, c in zip(answers[0], answers[2], answers[3], strict=True))
    what = (
        f"free, tokens/s ({equal}/{len(asked)} equal)"
        if free
        else f"choice, 1/s ({equal}/{len(asked)} equal)"
    )
    cells = " | ".join(f"{speed:.1f}" for speed in middle)
    return f"| {what} | {len(asked)} | {cells} | {middle[2] / middle[0]:.2f} |"


if __name__ == "__main__":
    main()
