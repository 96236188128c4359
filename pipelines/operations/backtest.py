"""`nightshift backtest`: stored nights under another policy, and which decisions flip."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.core.config import Config, load_config, refused
from pipelines.core.config.data import with_kind
from pipelines.core.contract import Manifest
from pipelines.core.errors import InputError, IntegrityError
from pipelines.policy.night.backtest import OF_A_RUN, UNKNOWN, Flip, Replay, not_replayed, replay
from pipelines.policy.night.level import Asks
from pipelines.policy.night.measured import measured
from pipelines.steps.gate import asks_before
from pipelines.stores import open_ledger, open_run
from pipelines.stores.ledger import Decision

Sections = Mapping[str, Mapping[str, Any]]  # section -> key -> value


@dataclass(frozen=True)
class Night:
    """One recorded night; `answer` is None where it cannot be replayed, and `note` says why."""

    run_id: str
    answer: Replay | None
    note: str = ""
    unreplayed: tuple[str, ...] = ()


def run_backtest(args: argparse.Namespace, config: Config) -> int:
    """Replay and print. Raises InputError when no night was decided in the given days."""
    changes = load_policy(args, config)
    ledger = open_ledger(config)
    decisions = [
        decision
        for decision in ledger.decisions()
        if (args.first or date.min) <= decision.night <= (args.last or date.max)
    ]
    if not decisions:
        raise InputError(
            "No night was decided in these days.",
            "`nightshift status` lists the decided ones.",
        )
    recorded = ledger.decided_before("")  # no run has this name, so all of them, in order
    nights = [again(decision, config, changes, recorded) for decision in decisions]
    unreplayed = sorted({change for night in nights for change in night.unreplayed})
    print(_json(args.policy, nights, unreplayed) if args.json else _text(nights, unreplayed))
    return 0


def load_policy(args: argparse.Namespace, config: Config) -> Sections:
    """The settings to replay under: of a whole profile all sections, else those named. Raises ConfigError."""
    try:
        changes = tomllib.loads(Path(args.policy).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        changes = {"profile": ""}  # load_config says what is wrong
    if "profile" in changes:
        whole = load_config(args.policy, config.home).model_dump(mode="json", by_alias=True)
        sections = {name: keys for name, keys in whole.items() if isinstance(keys, dict)}
        of_the_policy = {key: value for key, value in sections["decide"].items() if key not in OF_A_RUN}
        return sections | {"decide": of_the_policy}
    try:
        overlaid(config, changes)
    except ValidationError as error:
        raise refused(args.policy, error) from error
    return changes


def overlaid(config: Config, changes: Sections) -> Config:
    """`config` with these keys changed. Raises ValidationError."""
    data = config.model_dump(mode="json", by_alias=True)
    for name, keys in changes.items():
        both = isinstance(data.get(name), dict) and isinstance(keys, dict)
        data[name] = {**data[name], **keys} if both else keys
    return Config.model_validate(data)


def again(decision: Decision, config: Config, changes: Sections, decided: list[Decision]) -> Night:
    """One night again under its own settings and these changes, if its manifests are those signed for."""
    manifests = open_run(config, decision.run_id).manifests()
    found = {step: manifest.digest for step, manifest in manifests.items() if step in decision.evidence}
    if found != decision.evidence:
        wrong = next(step for step, digest in decision.evidence.items() if found.get(step) != digest)
        return Night(decision.run_id, None, f"the manifest of {wrong} is gone or is not the one recorded")
    signed = {step: manifests[step] for step in decision.evidence}
    try:
        recorded = overlaid(config, _recorded(signed))
        policy = overlaid(recorded, changes)
    except ValidationError as error:
        return Night(decision.run_id, None, f"its settings: {refused('the record', error)}")
    try:
        answer = replay(signed, policy, _asks(decision, signed, decided))
    except IntegrityError as error:
        return Night(decision.run_id, None, str(error))
    return Night(decision.run_id, answer, unreplayed=tuple(not_replayed(recorded, policy)))


def _asks(decision: Decision, signed: Mapping[str, Manifest], decided: list[Decision]) -> Asks:
    """The questions of the gates before this run's."""
    if "gate" not in signed:
        return Asks(decision.night)
    before = takewhile(lambda one: one.run_id != decision.run_id, decided)
    return asks_before(before, decision.night, measured(signed))


def _recorded(manifests: Mapping[str, Manifest]) -> Sections:
    """What the steps ran under; nothing for nights of a version that did not write it down."""
    found = {name: keys for one in manifests.values() for name, keys in (one.settings or {}).items()}
    return {name: with_kind(keys) if name == "ingest" else keys for name, keys in found.items()}


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
