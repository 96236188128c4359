"""What a night of the sample teaches by each objective: accuracy on other questions, before and after.

    .venv/bin/python -m benchmarks.objectives [--home /tmp/objectives] [--rows 144] [--asked 144] [--only kto]

SmolLM2-135M answers the sample's questions, and people rate its answers: a right one is liked, a wrong one
disliked. For sft and dpo they also write the right one. For kto they give thumbs alone, so that it knows what
is right only where the model happened to be right. Each training starts from the base, with the settings of
the demo profile and one epoch. Intervals are of the paired difference, at 95% (Gaffke's bound).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.machine import describe, moment
from pipelines.core.config import Config, load_config
from pipelines.models.base import base_folder
from pipelines.models.engine import Engine
from pipelines.models.rendering import rendering_of
from pipelines.models.trainer import train
from pipelines.policy.stats.paired import mean_limits
from pipelines.sample.packaged import convert_smollm2
from pipelines.sample.questions import Item, messages_of, sample_plan

PROFILE = Path(__file__).parents[1] / "config" / "demo.toml"
OBJECTIVES = ("sft", "kto", "dpo")


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def rows_of(
    objective: str, config: Config, items: Sequence[Item], answers: Sequence[str]
) -> list[dict[str, Any]]:
    """What people's feedback on the answers teaches by this objective."""
    found = []
    for item, answer in zip(items, answers, strict=True):
        row = {"prompt": messages_of(config, item.question), "completion": said(item.answer)}
        if objective == "sft":
            found.append(row)
        elif objective == "kto":
            found.append(row | {"completion": said(answer), "liked": answer == item.answer})
        elif answer != item.answer:
            found.append(row | {"rejected": said(answer)})
    return found


def answered(engine: Engine, config: Config, items: Sequence[Item]) -> list[str]:
    return engine.choose([messages_of(config, item.question) for item in items], config.task.labels)


def accuracy(items: Sequence[Item], answers: Sequence[str]) -> list[int]:
    return [int(item.answer == answer) for item, answer in zip(items, answers, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--home", default="/tmp/objectives", help="where the model and the checkpoints lie")
    parser.add_argument("--rows", type=int, default=144, help="answers that people rated")
    parser.add_argument("--asked", type=int, default=144, help="other questions, asked before and after")
    parser.add_argument("--only", choices=OBJECTIVES, help="one objective alone")
    given = parser.parse_args()
    home = Path(given.home)
    home.mkdir(parents=True, exist_ok=True)
    config = load_config(PROFILE, home, {"train.epochs": 1, "train.save_every_steps": 10})
    convert_smollm2(Path(config.path(config.model.base)))
    planned = sample_plan(config)
    items = [item for night in planned.nights for item in night][: given.rows]
    asked = [planned.suite[place * len(planned.suite) // given.asked] for place in range(given.asked)]
    engine = Engine(config.model, str(base_folder(config)), config.task.system_prompt)
    answers, before = answered(engine, config, items), accuracy(asked, answered(engine, config, asked))
    print(f"{describe()}; {moment()}")
    print(
        f"{sum(accuracy(items, answers))} of {len(items)} answers were right. Of {len(asked)} others the base"
    )
    print(f"gives {sum(before) / len(asked):.1%} right.\n")
    print("| objective | rows | right after | difference | seconds |\n|---|---:|---:|---:|---:|")
    for objective in [given.only] if given.only else OBJECTIVES:
        rows, begun = rows_of(objective, config, items, answers), perf_counter()
        scratch = home / "scratch" / objective
        trained = train(
            base_folder(config), rendering_of(config), config.train, rows, [], config.seed, scratch,
            model=config.model, objective=objective,
        )  # fmt: skip
        seconds = perf_counter() - begun
        engine.load(objective, trained.adapter)
        engine.use(objective)
        after = accuracy(asked, answered(engine, config, asked))
        low, high = mean_limits([one - was for one, was in zip(after, before, strict=True)], 0.025, 0.025)
        gain = (sum(after) - sum(before)) / len(asked)
        print(
            f"| `{objective}` | {len(rows)} | {sum(after) / len(asked):.1%} | {100 * gain:+.1f} points "
            f"[{100 * low:+.1f}, {100 * high:+.1f}] | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
