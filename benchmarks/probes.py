"""How far honest noise and wrong adapters are from a registered adapter's probes.

    .venv/bin/python -m benchmarks.probes [--base .nightshift/models/smollm2-135m-instruct] [--items 64]

Trains a small adapter on the sample's questions and chooses probes as `register` does. Then the same adapter
answers in other batches, threads and number types, and wrong things answer under its name. A share of 1 is
the distance between adapter and base; the largest of all probes counts, and `serving.probe_tolerance` is the
limit. The last lines flip single bits of the adapter's weights, drawn at random (`--flips`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.machine import describe
from pipelines.core.config import Model, Serving, load_config
from pipelines.core.probes import Answer, Probe
from pipelines.models.engine import Engine, load_tokenizer
from pipelines.models.probes import TOKENS
from pipelines.policy.probes import by_distance, compare
from pipelines.sample.questions import questions
from tests.support import tiny

DEMO = load_config(Path(__file__).parents[1] / "config" / "demo.toml", Path(".nightshift"))
SYSTEM, TAUGHT, STEPS = DEMO.task.system_prompt, 8, 12
OTHER_SYSTEM = "You are a helpful assistant."
TOLERANCE = Serving().probe_tolerance


def main() -> None:
    args = _arguments()
    print(describe())
    pairs = _short_questions(args.items + TAUGHT)
    with tempfile.TemporaryDirectory() as scratch:
        folders = _train(args.base, Path(scratch), pairs[:TAUGHT])
        asked = [[{"role": "user", "content": question}] for _, question in pairs[TAUGHT:]]
        engine = _engine(args.base, folders)
        every = _probes(engine, asked)
        chosen = every[: DEMO.register_.probes]
        far = [distance for distance, _ in every]
        print(f"base and adapter are {far[-1]:.2f} to {far[0]:.2f} nats apart on {len(far)} items")
        print(f"and {far[len(chosen) - 1]:.2f} to {far[0]:.2f} on the {len(chosen)} probes")
        _print_noise(args.base, folders, [probe for _, probe in every], len(chosen))
        _print_wrong(engine, folders, [probe for _, probe in chosen])
        _print_flips(engine, [probe for _, probe in chosen], args.flips)


def _print_noise(base: Path, folders: dict[str, Path], probes: list[Probe], count: int) -> None:
    for words, batch, threads, dtype in (
        ("one at a time", 1, 1, torch.float32),
        ("two threads", 5, 2, torch.float32),
        ("float16", 8, 1, torch.float16),
        ("bfloat16", 8, 1, torch.bfloat16),
    ):
        engine = _engine(base, {"right": folders["right"]}, batch)
        engine.module.to(dtype)
        torch.set_num_threads(threads)
        seen = _seen(engine, "right", probes)
        _print(f"right, {words}", probes[:count], seen[:count])
        _print(f"right, {words}, all {len(probes)} items", probes, seen)
    torch.set_num_threads(1)


def _print_wrong(engine: Engine, folders: dict[str, Path], probes: list[Probe]) -> None:
    _print("the base", probes, _seen(engine, None, probes))
    for name in folders:
        if name != "right":
            _print(name, probes, _seen(engine, name, probes))
    for factor in (1.05, 1.25, 2.0):
        with _scaled(engine, factor):
            _print(f"scale x {factor}", probes, _seen(engine, "right", probes))
    for words, system in (("another system prompt", OTHER_SYSTEM), ("no system prompt", "")):
        engine.rendering._system = system
        _print(words, probes, _seen(engine, "right", probes))
    engine.rendering._system = SYSTEM


def _print_flips(engine: Engine, probes: list[Probe], flips: int) -> None:
    rng, found = np.random.default_rng(7), dict.fromkeys(("sign", "exponent", "fraction"), (0, 0))
    weights = [weight for name, weight in engine.module.named_parameters() if ".right." in name]
    sizes = np.array([weight.numel() for weight in weights])
    for _ in range(flips):
        weight, bit = weights[rng.choice(len(weights), p=sizes / sizes.sum())], int(rng.integers(32))
        part = "sign" if bit == 31 else "exponent" if bit >= 23 else "fraction"
        place = int(rng.integers(weight.numel()))
        with torch.no_grad():
            _flip(weight, place, bit)
            finding = compare(probes, _seen(engine, "right", probes), TOLERANCE)
            _flip(weight, place, bit)
        caught, tried = found[part]
        found[part] = caught + (finding.served != "adapter"), tried + 1
    for part, (caught, tried) in found.items():
        print(
            f"one bit of the {part}: {caught} of {tried} flips are told by probes, all of them by the digest"
        )


def _flip(weight: torch.Tensor, place: int, bit: int) -> None:
    mask = -(2**31) if bit == 31 else 1 << bit
    weight.data.view(torch.int32).view(-1)[place] ^= mask


def _probes(engine: Engine, asked: list[Any]) -> list[tuple[float, Probe]]:
    answers = []
    for name in (None, "right"):
        engine.use(name)
        answers.append(engine.beginnings(asked, TOKENS))
    made = zip(asked, *answers, strict=True)
    return by_distance([Probe(messages=tuple(m), base=base, adapter=mine) for m, base, mine in made])


def _seen(engine: Engine, name: str | None, probes: list[Probe]) -> list[Answer]:
    engine.use(name)
    return engine.beginnings([probe.messages for probe in probes], TOKENS)


def _print(what: str, probes: list[Probe], seen: list[Answer]) -> None:
    found = compare(probes, seen, TOLERANCE)
    alone = [compare([probe], [answer], TOLERANCE) for probe, answer in zip(probes, seen, strict=True)]
    middle = median(one.from_adapter or 0.0 for one in alone)
    numbers = f"{found.from_adapter:6.3f} from the adapter (median {middle:.3f}), {found.from_base:6.3f} from"
    print(f"{what:44} {numbers} the base: {found.served}", flush=True)


@contextmanager
def _scaled(engine: Engine, factor: float) -> Iterator[None]:
    layers = [layer for layer in engine.module.modules() if isinstance(getattr(layer, "scaling", None), dict)]
    for layer in layers:
        layer.scaling["right"] *= factor
    yield
    for layer in layers:
        layer.scaling["right"] /= factor


def _engine(base: Path, folders: dict[str, Path], batch: int = 8) -> Engine:
    engine = Engine(Model(threads=1, batch_size=batch), str(base), SYSTEM)
    for name, folder in folders.items():
        engine.load(name, folder)
    return engine


def _train(base: Path, scratch: Path, pairs: list[tuple[str, str]]) -> dict[str, Path]:
    tokenizer = load_tokenizer(base)

    def adapter(name: str, steps: int, pairs: list[tuple[str, str]]) -> Path:
        texts = [str(tokenizer.apply_chat_template(_chat(*pair), tokenize=False)) for pair in pairs]
        return tiny.make_adapter(base, scratch / name, texts, steps, learning_rate=2e-3)

    return {
        "right": adapter("right", STEPS, pairs),
        "another: one step less": adapter("less", STEPS - 1, pairs),
        "another: half of the steps": adapter("half", STEPS // 2, pairs),
        "another: half of the examples": adapter("few", STEPS, pairs[: len(pairs) // 2]),
    }


def _chat(label: str, question: str) -> list[dict[str, str]]:
    turns = (("system", SYSTEM), ("user", question), ("assistant", label))
    return [{"role": role, "content": text} for role, text in turns]


def _short_questions(count: int) -> list[tuple[str, str]]:
    """(label, question), the shortest first of each label in turn."""
    by_label = {label: sorted(asked, key=len) for label, asked in questions(DEMO.task.labels).items()}
    rounds = range(max(map(len, by_label.values())))
    return [(label, asked[n]) for n in rounds for label, asked in by_label.items() if n < len(asked)][:count]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, default=Path(DEMO.home) / "models" / "smollm2-135m-instruct")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--flips", type=int, default=32)
    return parser.parse_args()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
