"""What a model was made of: its parent, its datasets, and every night whose rows it saw. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

from pipelines.core.contract import Manifest
from pipelines.core.facts.curate import CurateFacts
from pipelines.core.facts.reading import facts_of

TO = ".."  # between the first and the last night of a span
DATASETS = {"curate": ("train", "dev", "canaries"), "evaluate": ("items", "held_back")}


def spans(nights: Iterable[date]) -> list[str]:
    """Nights as spans, `2026-01-01..2026-01-07`, and single nights: a tag holds 5,000 characters."""
    found: list[tuple[date, date]] = []
    for night in sorted(set(nights)):
        if found and night - found[-1][1] == timedelta(days=1):
            found[-1] = (found[-1][0], night)
        else:
            found.append((night, night))
    return [str(first) if first == last else f"{first}{TO}{last}" for first, last in found]


def nights_in(written: Iterable[str]) -> set[date]:
    """The nights of spans."""
    nights: set[date] = set()
    for span in written:
        first, _, last = span.partition(TO)
        start, end = date.fromisoformat(first), date.fromisoformat(last or first)
        nights.update(start + timedelta(days=n) for n in range((end - start).days + 1))
    return nights


def datasets(manifests: Mapping[str, Manifest]) -> dict[str, str]:
    """sha256 of each set that tonight's candidate was trained on, or that was kept back from it."""
    return {
        name: manifests[step].outputs[name].sha256
        for step, names in DATASETS.items()
        if step in manifests
        for name in names
        if name in manifests[step].outputs
    }


def nights_seen(manifests: Mapping[str, Manifest], of_parent: Iterable[str] = ()) -> list[str]:
    """Spans of all nights whose rows the candidate saw: new ones, replayed ones, and those of its parent."""
    curated = facts_of(manifests, CurateFacts)
    return spans({*curated.nights, *curated.replay_nights, *nights_in(of_parent)})
