"""What `nightshift backtest` prints: a table of nights, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pipelines.policy.night.backtest import UNKNOWN, Flip, Replay


@dataclass(frozen=True)
class Night:
    """One recorded night; `answer` is None where it cannot be replayed, and `note` says why.

    `former`: the same night under the rules of a former version, where they were asked.
    """

    run_id: str
    answer: Replay | None
    note: str = ""
    unreplayed: tuple[str, ...] = ()
    former: Replay | None = None


def in_json(policy: str | None, rules: str | None, nights: Sequence[Night]) -> str:
    found = {"policy": policy, "nights": [asdict(night) for night in nights], "summary": _summary(nights)}
    if rules:
        found |= {"rules": rules, "former_summary": _summary(_under_former(nights))}
    return json.dumps(found | {"not_replayed": _unreplayed(nights)}, indent=1)


def in_text(rules: str | None, nights: Sequence[Night]) -> str:
    """A row a night, one more where it ends otherwise under the former rules, and the counts."""
    rows = [f"{'night':<20} {'recorded':<9} {'replayed':<9} {'flipped':<31} why"]
    otherwise = [place for place, night in enumerate(nights) if night.answer and night.answer.ends_otherwise]
    other_history = nights[otherwise[0] + 1 :] if otherwise else []
    for night in nights:
        name = night.run_id + "*" * (night in other_history)
        if night.answer is None:
            rows.append(f"{name:<20} {'':<9} {'':<9} {'not replayed':<31} {night.note}")
            continue
        rows += _rows(name, night.answer.recorded, night.answer)
        if night.former and night.former.replayed != night.answer.replayed:
            rows += _rows(f"  rules of {rules}", "", night.former)
    footer = _footer(nights)
    if rules:
        former = _footer(_under_former(nights))
        footer = [f"today's rules: {footer[0]}", f"rules of {rules}: {former[0]}"]
    if other_history:
        footer.append(
            "* replayed on the history it had; after a night that ends otherwise that would differ."
        )
    said = [f"not replayed, as no record tells its effect: {change}" for change in _unreplayed(nights)]
    return "\n".join([*rows, "", *footer, *said])


def _under_former(nights: Sequence[Night]) -> list[Night]:
    return [Night(night.run_id, night.former) for night in nights]


def _rows(name: str, recorded: str, answer: Replay) -> list[str]:
    first, *others = answer.flips or (None,)
    return [
        f"{name:<20} {recorded:<9} {answer.replayed:<9} {_flip(first)}".rstrip(),
        *(f"{'':<40} {_flip(flip)}" for flip in others),
    ]


def _flip(flip: Flip | None) -> str:
    return f"{f'{flip.decision}: {flip.recorded} -> {flip.replayed}':<31} {flip.why}" if flip else ""


def _summary(nights: Sequence[Night]) -> dict[str, int]:
    answers = [night.answer for night in nights if night.answer]
    return {
        "nights": len(nights),
        "replayed": len(answers),
        "flipped": sum(bool(answer.flips) for answer in answers),
        "end_otherwise": sum(answer.ends_otherwise for answer in answers),
        "unknown": sum(answer.replayed == UNKNOWN for answer in answers),
    }


def _unreplayed(nights: Sequence[Night]) -> list[str]:
    return sorted({change for night in nights for change in night.unreplayed})


def _footer(nights: Sequence[Night]) -> list[str]:
    count = _summary(nights)
    words = f"{count['end_otherwise']} of {count['replayed']} nights end otherwise"
    if count["unknown"]:
        words += f", {count['unknown']} of them unknown: only a training could tell"
    return [f"{words}; {count['flipped']} with a decision that flips."]
