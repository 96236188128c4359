"""How often planted judges prove themselves, what a proved judge rejects, and how good its estimates are.

`python -m benchmarks.judges [proof|gate|labels]` prints the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date

import numpy as np

from benchmarks.planted_judges import BAD, GOOD, Judge, choices
from benchmarks.tables import markdown
from pipelines.core.config import Gate
from pipelines.core.config import Judge as Settings
from pipelines.core.facts.judge import JudgeFacts, JudgeProof
from pipelines.evaluation.judges.ask import Pair, Verdict, in_both_orders
from pipelines.evaluation.judges.choices import Choice
from pipelines.evaluation.judges.prompt import Reply
from pipelines.evaluation.judges.proof import beside
from pipelines.policy.night.judge import judge_check
from pipelines.policy.night.judge_proof import prove
from pipelines.policy.night.measured import measured_from
from pipelines.policy.stats.prediction_powered import LEAST_LABELS, prediction_powered_mean

NIGHT, WORLDS, SIZES = date(2026, 1, 1), 200, (50, 100, 300)
PROVED = JudgeProof(digest="", night=NIGHT, window_days=60, choices=300, people=150)


def verdict_on(judge: Judge, pair: Pair) -> Verdict:
    """What is made of a judge's two replies."""
    question = pair.messages[-1]["content"]
    orders = ((pair.one, pair.other), (pair.other, pair.one))
    return in_both_orders([Reply(judge(question, *order), "") for order in orders])


def proof_of(judge: Judge, made: Sequence[Choice], settings: Settings) -> JudgeProof:
    compared = [beside(one, one.pair, verdict_on(judge, one.pair)) for one in made]
    return prove(compared, 0, 0, settings, "", NIGHT)


def rates(size: int, worlds: int, mostly_longer: float = 0.65) -> dict[str, float]:
    """The share of worlds in which each judge proves itself with so many choices."""
    rng, settings, proved = np.random.default_rng(size), Settings(), dict.fromkeys({**GOOD, **BAD}, 0)
    for _ in range(worlds):
        made = choices(rng, size, mostly_longer)
        for name, judge in {**GOOD, **BAD}.items():
            proved[name] += proof_of(judge, made, settings).is_proved
    return {name: count / worlds for name, count in proved.items()}


def rejected(won: float, lost: float, accuracy: float, pairs: int, worlds: int = 2_000) -> float:
    """How often the gate rejects a candidate that wins and loses such shares of questions.

    In each order the judge takes people's side with this chance, and else the other one; on questions that
    neither answers better, either.
    """
    rng, failed = np.random.default_rng(pairs), 0
    for _ in range(worlds):
        truth = rng.choice([1, -1, 0], pairs, p=[won, lost, 1 - won - lost])
        truth = np.where(truth == 0, rng.choice([1, -1], pairs) * (rng.random(pairs) < 0.5), truth)
        said = np.where(rng.random((2, pairs)) < accuracy, truth, -truth)
        value = np.where(said[0] == said[1], said[0], 0)
        failed += _answer(value) == "fail"
    return failed / worlds


def _answer(value: np.ndarray) -> str:
    counts = {"won": int((value > 0).sum()), "lost": int((value < 0).sum()), "tied": int((value == 0).sum())}
    facts = JudgeFacts(model="m", proof=PROVED, **counts)
    found = measured_from({"judge": facts.model_dump(mode="json")}, {}, {}, {})
    return judge_check(found, Gate())[0].answer


def coverage(labels: int, accuracy: float, chosen: str, worlds: int = 2_000) -> tuple[float, float, float]:
    """(share of intervals that hold the mean, their width, the width by the labels alone) of 300 pairs.

    A judge says what people say with this chance, else anything. `chosen`: which pairs people labelled.
    """
    rng, pairs, truth = np.random.default_rng(labels), 300, (0.35, 0.25, 0.4)
    held, width, alone = 0, 0.0, 0.0
    for _ in range(worlds):
        people = rng.choice([1.0, -1.0, 0.0], pairs, p=truth)
        said = np.where(rng.random(pairs) < accuracy, people, rng.choice([1.0, -1.0, 0.0], pairs))
        order = rng.permutation(pairs)
        if chosen != "at random":  # first those that the judge gives to the candidate, or to people's dislike
            order = order[np.argsort(-(said if chosen == "by the judge" else people)[order], kind="stable")]
        own, rest = order[:labels], order[labels:]
        found = prediction_powered_mean(people[own], said[own], said[rest], 0.95).mean
        bare = prediction_powered_mean(people[own], np.zeros(labels), np.zeros(0), 0.95).mean
        held += found.low <= truth[0] - truth[1] <= found.high
        width, alone = width + found.high - found.low, alone + bare.high - bare.low
    return held / worlds, width / worlds, alone / worlds


def _proof() -> None:
    """Of 200 worlds each; about ten minutes on one core."""
    found = {size: rates(size, WORLDS) for size in SIZES}
    head = ["judge", *(f"{size} choices" for size in SIZES)]
    rows = [[name, *(f"{found[size][name]:.1%}" for size in SIZES)] for name in found[SIZES[0]]]
    print(markdown(head, rows))


def _gate() -> None:
    worlds = {
        "better by 10 points": (0.3, 0.2),
        "equal, answers differ": (0.25, 0.25),
        "equal, few answers differ": (0.05, 0.05),
        "worse by 5 points": (0.2, 0.25),
        "worse by 20 points": (0.15, 0.35),
        "worse by 40 points": (0.1, 0.5),
    }
    columns = [(accuracy, pairs) for accuracy in (0.7, 0.85) for pairs in (100, 300)]
    head = ["candidate", *(f"agrees {accuracy:.0%}, {pairs} pairs" for accuracy, pairs in columns)]
    rows = [
        [name, *(f"{rejected(*world, accuracy, pairs):.1%}" for accuracy, pairs in columns)]
        for name, world in worlds.items()
    ]
    print(markdown(head, rows))


def _labels() -> None:
    head = [
        "labelled pairs",
        "labels",
        "judge says it too",
        "interval holds the mean",
        "width",
        "labels alone",
    ]
    rows = []
    for chosen in ("at random", "by the judge", "by people"):
        for labels in (LEAST_LABELS, 60):
            for accuracy in (0.0, 0.6, 0.85):
                held, width, alone = coverage(labels, accuracy, chosen)
                rows.append(
                    [chosen, labels, f"{accuracy:.0%}", f"{held:.1%}", f"{width:.2f}", f"{alone:.2f}"]
                )
    print(markdown(head, rows))


SECTIONS = {"proof": _proof, "gate": _gate, "labels": _labels}


def main() -> None:
    for name in sys.argv[1:] or SECTIONS:
        print(f"## {name}\n", flush=True)
        SECTIONS[name]()
        print(flush=True)


if __name__ == "__main__":
    main()
