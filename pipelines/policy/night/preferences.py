"""What a night learns from: the feedback that each objective takes, and which objective fits a night. Pure.

| objective | a row is learned as                                        | rows that count            |
|-----------|------------------------------------------------------------|----------------------------|
| sft       | the right answer                                           | corrected or liked         |
| kto       | an answer, liked or not; a correction counts as liked      | corrected, liked, disliked |
| dpo       | a better answer, the correction, against the corrected one | corrected to another text  |

`auto` takes kto where people disliked more answers than they corrected, as sft learns nothing from those. It
needs both sides. Otherwise it takes sft. It never takes dpo, which is known to suffer where the pairs were
not written by the model that is trained (Xu et al., arXiv:2404.10719): people wrote the corrections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pipelines.core.config.training import Objective
from pipelines.policy.night.feedback import Read, as_written, disliked, labelled

LEAST_SHARE = 0.05  # of rated answers that were liked, and that were disliked; below it kto is not trained
TAKES: dict[Objective, tuple[str, ...]] = {  # the counts of feedback that an objective learns from
    "sft": ("corrections", "likes"),
    "kto": ("corrections", "likes", "dislikes"),
    "dpo": ("pairs",),
}


def learnable(counts: Mapping[str, int], objective: Objective) -> int:
    """How many of the counted rows an objective learns from."""
    return sum(counts[name] for name in TAKES[objective])


def is_one_sided(liked: int, not_liked: int) -> bool:
    """Whether there are too few liked or disliked answers to learn from both."""
    return min(liked, not_liked) < LEAST_SHARE * (liked + not_liked) or not (liked and not_liked)


def kto_weights(liked: int, not_liked: int) -> tuple[float, float]:
    """The weights of liked and disliked answers, by which both sides weigh the same.

    The ratio of the sides is then 1, the lower end of what the authors advise (section 4.2 of
    arXiv:2402.01306), and the mean weight is 1.
    """
    rows = liked + not_liked
    return rows / (2 * max(1, liked)), rows / (2 * max(1, not_liked))


def objective_tonight(
    asked: Objective | Literal["auto"], counts: Mapping[str, int]
) -> tuple[Objective, str | None]:
    """The objective, and why, where it was to be chosen.

    `counts`: the corrections, likes and dislikes that may be learned, of a person up to the cap. Right
    answers teach more than thumbs down, so kto is taken only where there are fewer of them than of these.
    """
    if asked != "auto":
        return asked, None
    liked, not_liked = counts["corrections"] + counts["likes"], counts["dislikes"]
    said = f"{not_liked} answers were only disliked, {liked} were liked or corrected"
    if not_liked <= liked:
        return "sft", f"Training by sft: {said}."
    if is_one_sided(liked, not_liked):
        return "sft", f"Training by sft: {said}, which are too few for kto."
    return "kto", f"Training by kto: {said}."


def told_rows(
    rows: Iterable[Mapping[str, Any]],
    objective: Objective,
    read: Read = as_written,
    system_prompt: str = "",
) -> list[dict[str, Any]]:
    """Interactions in the form of `labelled`, as the objective learns them.

    For kto each has `liked`, and `answer` may be one that was disliked. For dpo each has `rejected`, the
    answer that was corrected. Rows without such feedback are left out, and rows whose texts are no answer of
    the task.
    """
    found = list(rows)
    known = labelled(found, read, system_prompt)
    if objective == "kto":
        wrong = [
            {**row, "answer": answer, "liked": False}
            for row in disliked(found, read, system_prompt)
            if row["completion"].strip() and (answer := read(row["completion"].strip())) is not None
        ]
        return [{**row, "liked": True} for row in known] + wrong
    if objective == "dpo":
        pairs = [{**row, "rejected": read(row["completion"].strip())} for row in known if row["correction"]]
        return [row for row in pairs if row["rejected"] and row["rejected"] != row["answer"]]
    return known
