"""`nightshift backtest`: stored nights under another policy or former rules, and which decisions flip."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.core.config import Config, load_config, refused
from pipelines.core.config.data import with_kind
from pipelines.core.contract import Manifest
from pipelines.core.errors import InputError, IntegrityError
from pipelines.operations.backtest_shown import Night, in_json, in_text
from pipelines.policy.night.backtest import OF_A_RUN, not_replayed, replay
from pipelines.policy.night.level import Asks
from pipelines.policy.night.measured import measured
from pipelines.policy.night.rules import FORMER
from pipelines.steps.gate import asks_before
from pipelines.stores import open_ledger, open_run
from pipelines.stores.ledger import Decision

Sections = Mapping[str, Mapping[str, Any]]  # section -> key -> value


def run_backtest(args: argparse.Namespace, config: Config) -> int:
    """Replay and print. Raises InputError when no night was decided in the given days."""
    changes = load_policy(args, config) if args.policy else {}
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
    nights = [again(decision, config, changes, recorded, args.rules) for decision in decisions]
    shown = in_json(args.policy, args.rules, nights) if args.json else in_text(args.rules, nights)
    print(shown)
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


def again(
    decision: Decision, config: Config, changes: Sections, decided: list[Decision], former: str | None = None
) -> Night:
    """One night again under its own settings and these changes, if its manifests are those signed for.

    `former`: a version whose rules are asked beside today's.
    """
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
        asks = _asks(decision, signed, decided)
        answer = replay(signed, policy, asks)
        before = replay(signed, policy, asks, FORMER[former]) if former else None
    except IntegrityError as error:
        return Night(decision.run_id, None, str(error))
    return Night(decision.run_id, answer, unreplayed=tuple(not_replayed(recorded, policy)), former=before)


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
