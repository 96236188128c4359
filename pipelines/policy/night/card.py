"""The card of a training set, which accounts for every row, and the sentences about what left."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from pipelines.core.facts.curate import CurateFacts
from pipelines.policy.night.dataset import NO_ANSWER, UNFIT
from pipelines.policy.night.preferences import LEAST_SHARE, is_one_sided


def dataset_card(night: date, facts: CurateFacts) -> str:
    """Markdown that says where every row went."""
    counts = facts.counts
    lines = [
        f"# Training set of {night}",
        "",
        f"New feedback, delivered in the nights {facts.window.first} to {facts.window.last}, and "
        f"replay from {len(facts.replay_nights)} days. Questions and free text are redacted, labels not.",
        "",
    ]
    for part, rows in (("New", counts.new), ("Replay", counts.replay)):
        lines += [f"## {part} rows", "", "| | rows |", "|---|---:|"]
        lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in rows.items()]
        lines += ["", "Read = kept + all other lines.", ""]
    lines += [
        "## Examples",
        "",
        f"{counts.kept} kept + {counts.planted_secrets} planted secrets{_earlier(facts)} = "
        f"{counts.train} for training + {counts.dev} for development.",
        "",
        *_objective(facts),
        f"{facts.turns_dropped} of them lose their oldest turns, which do not fit into a prompt.",
        "",
        *_answers(facts),
        "## Personal data replaced",
        "",
        *(f"- {kind}: {number}" for kind, number in facts.redacted.items()),
        f"- texts changed: {facts.texts_redacted} of {facts.texts}",
        *_languages(facts),
        "",
        "## Settings",
        "",
        *(f"- {name}: {value}" for name, value in facts.settings.items()),
        f"- seed: {facts.seed}",
        "",
    ]
    return "\n".join(lines)


def _earlier(facts: CurateFacts) -> str:
    return f" + {facts.earlier_turns} earlier assistant turns" if facts.earlier_turns else ""


def _objective(facts: CurateFacts) -> list[str]:
    """What is learned of the kept rows, where it is not that each is a right answer."""
    if facts.objective == "kto":
        liked = facts.counts.kept - facts.disliked
        return [f"Learned by kto: {liked} liked or corrected answers, {facts.disliked} disliked ones.", ""]
    return ["Learned by dpo: each correction against the answer that it corrected.", ""] * (
        facts.objective == "dpo"
    )


def _answers(facts: CurateFacts) -> list[str]:
    """How often each answer occurs, for a task with a list of answers."""
    if not facts.answers:
        return []
    rows = [f"| {name} | {n.train} | {n.dev} |" for name, n in facts.answers.items()]
    return ["| answer | training | development |", "|---|---:|---:|", *rows, ""]


def _languages(facts: CurateFacts) -> list[str]:
    """Whose names and addresses were looked for, and that other languages were not looked at."""
    languages = facts.settings.get("redact_languages", ("en",))
    lines = [
        f"- languages looked at: {', '.join(languages)}. Names and addresses in others were not looked for."
    ]
    if facts.other_scripts:
        found = ", ".join(f"{script} {texts}" for script, texts in facts.other_scripts.items())
        lines.append(f"- texts in scripts that were not looked at: {found}")
    return lines


def lost(facts: CurateFacts) -> list[str]:
    """What went, wholly or in part, because it does not fit, and what does not count in the suite."""
    counts, dropped, copies = facts.counts, facts.turns_dropped, facts.suite_copies
    went = {name: counts.new.get(name, 0) + counts.replay.get(name, 0) for name in (*UNFIT, NO_ANSWER)}
    every = ", ".join(f"{rows} {name.replace('_', ' ')}" for name, rows in went.items() if rows)
    said = [f"{sum(went.values())} rows cannot be trained on ({every})."] if every else []
    if copies:
        shown = ", ".join(copies[:5]) + ", ..." * (len(copies) > 5)
        said.append(
            f"{len(copies)} of the suite's items nearly repeat others ({shown}), and do not count for an"
            " improvement. Remove them from the suite."
        )
    return said + ([f"{dropped} examples lose their oldest turns."] if dropped else [])


def one_sided(facts: CurateFacts) -> str | None:
    """Why kto cannot learn from the kept rows, where it cannot."""
    liked = facts.counts.kept - facts.disliked
    if facts.objective != "kto" or not is_one_sided(liked, facts.disliked):
        return None
    return (
        f"{liked} liked and {facts.disliked} disliked answers are left: kto needs at least"
        f" {LEAST_SHARE:.0%} of each."
    )


def too_few(counts: Mapping[str, int], least: int) -> str:
    reasons = {name: n for name, n in counts.items() if name not in ("read", "kept") and n}
    went = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in reasons.items())
    return f"{counts['kept']} new examples are left of {counts['read']} rows; {least} are needed ({went})."
