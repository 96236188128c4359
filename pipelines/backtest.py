"""`python -m pipelines backtest`: stored nights under another policy, and which decisions flip."""

from __future__ import annotations

import argparse
import json
import tomllib
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from pipelines.adapters.ledger import Decision, Ledger
from pipelines.config import Config, load_config, parse_override
from pipelines.errors import ConfigError, InputError
from pipelines.policy.backtest import UNKNOWN, Flip, Replay, not_replayed, replay
from pipelines.runner import Run


@dataclass(frozen=True)
class Night:
    """One recorded night; `answer` is None where it cannot be replayed, and `note` says why."""

    run_id: str
    answer: Replay | None
    note: str


def run_backtest(args: argparse.Namespace, config: Config) -> int:
    """Replay and print. Raises InputError when no night was decided in the given days."""
    policy = load_policy(args, config)
    decisions = [
        decision
        for decision in Ledger(config.path(config.ledger_url)).decisions()
        if (args.first or date.min) <= decision.night <= (args.last or date.max)
    ]
    if not decisions:
        raise InputError(
            "decided nights", "none in these days", "See `.venv/bin/python -m pipelines status`."
        )
    nights = [again(decision, config, policy) for decision in decisions]
    unreplayed = not_replayed(config, policy)
    print(_json(args.policy, nights, unreplayed) if args.json else _text(nights, unreplayed))
    return 0


def load_policy(args: argparse.Namespace, config: Config) -> Config:
    """The settings to replay under. Raises ConfigError."""
    try:
        changes = tomllib.loads(Path(args.policy).read_text(encoding="utf-8"))
    except (FileNotFoundError, tomllib.TOMLDecodeError):
        changes = {"profile": ""}  # load_config says what is wrong
    if "profile" in changes:
        return load_config(args.policy, config.home)
    dotted = {f"{name}.{key}": value for name, section in changes.items() for key, value in section.items()}
    try:
        return load_config(args.config, config.home, dict(map(parse_override, args.set)) | dotted)
    except ConfigError as error:
        raise ConfigError(
            f"settings of {args.config} in {args.policy}", error.found, error.next_step
        ) from error


def again(decision: Decision, config: Config, policy: Config) -> Night:
    """One night again, if its manifests are still those that the ledger signed for."""
    manifests = Run(f"{config.home}/runs/{decision.run_id}").manifests()
    found = {step: manifest.digest for step, manifest in manifests.items() if step in decision.evidence}
    if found != decision.evidence:
        wrong = next(step for step, digest in decision.evidence.items() if found.get(step) != digest)
        return Night(decision.run_id, None, f"the manifest of {wrong} is gone or is not the one recorded")
    answer = replay({step: manifests[step] for step in decision.evidence}, policy)
    return Night(decision.run_id, answer, "")


def _summary(nights: list[Night]) -> dict[str, int]:
    answers = [night.answer for night in nights if night.answer]
    return {
        "nights": len(nights),
        "replayed": len(answers),
        "flipped": sum(bool(answer.flips) for answer in answers),
        "end_otherwise": sum(answer.ends_otherwise for answer in answers),
        "unknown": sum(answer.replayed == UNKNOWN for answer in answers),
    }


def _json(policy: str, nights: list[Night], unreplayed: list[str]) -> str:
    rows = [asdict(night) for night in nights]
    return json.dumps(
        {"policy": policy, "nights": rows, "summary": _summary(nights), "not_replayed": unreplayed}, indent=1
    )


def _text(nights: list[Night], unreplayed: list[str]) -> str:
    rows = [f"{'night':<20} {'recorded':<9} {'replayed':<9} {'flipped':<31} why"]
    otherwise = [place for place, night in enumerate(nights) if night.answer and night.answer.ends_otherwise]
    other_history = nights[otherwise[0] + 1 :] if otherwise else []
    for night in nights:
        name = night.run_id + "*" * (night in other_history)
        if night.answer is None:
            rows.append(f"{name:<20} {'':<9} {'':<9} {'not replayed':<31} {night.note}")
            continue
        answer, (first, *others) = night.answer, night.answer.flips or (None,)
        rows.append(f"{name:<20} {answer.recorded:<9} {answer.replayed:<9} {_flip(first)}".rstrip())
        rows += [f"{'':<40} {_flip(flip)}" for flip in others]
    return "\n".join([*rows, *_footer(nights, unreplayed, bool(other_history))])


def _flip(flip: Flip | None) -> str:
    return f"{f'{flip.decision}: {flip.recorded} -> {flip.replayed}':<31} {flip.why}" if flip else ""


def _footer(nights: list[Night], unreplayed: list[str], marked: bool) -> list[str]:
    count = _summary(nights)
    words = f"{count['end_otherwise']} of {count['replayed']} nights end otherwise"
    if count["unknown"]:
        words += f", {count['unknown']} of them unknown: only a training could tell"
    lines = ["", f"{words}; {count['flipped']} with a decision that flips."]
    if marked:
        lines.append("* replayed on the history it had; after a night that ends otherwise that would differ.")
    lines += [f"not replayed, as no record tells its effect: {change}" for change in unreplayed]
    return lines
