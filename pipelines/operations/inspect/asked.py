"""Columns that ingest asks about before it reads a night: consent, a system prompt, our names misspelt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.core.interactions import COLUMNS, CONSENT
from pipelines.data.reader.columns import spelling_of
from pipelines.data.typed import Seen
from pipelines.operations.inspect.kinds import Rows, misfit_of


def add_asked(settings: dict[str, Any], seen: Seen, rows: Rows, misfits: dict[str, str]) -> None:
    """Map them where there is no doubt. What stays open holds the night, and says so."""
    columns = dict(settings.get("columns", {}))
    columns |= consents_of(seen, rows, misfits)
    if settings.get("format", "nightshift") == "nightshift":
        beside = {columns.get(name, name).rpartition(".")[0] for name in ("messages", "prompt")}
        prompts = [path for path in seen.systems if path.rpartition(".")[0] in beside and path != "system"]
        if prompts and "system" not in seen.columns:
            columns["system"] = prompts[0]
        if twins := _unfit_twins([*seen.columns], columns, misfits):
            settings["ignore"] = twins
    if columns:
        settings["columns"] = columns


def consents_of(seen: Seen, rows: Rows, misfits: dict[str, str]) -> dict[str, str]:
    """opt_out and opt_in, where one column each seems to be it and its values are true or false."""
    found = {}
    for ours in CONSENT:
        meant = [path for path, what in seen.spoken.items() if what == ours and path not in CONSENT]
        if len(meant) != 1 or ours in seen.columns:
            continue
        why = misfit_of("opt_out", meant[0], rows, False)
        if why is None:
            found[ours] = meant[0]
        else:
            misfits[meant[0]] = why
    return found


def _unfit_twins(names: Sequence[str], columns: Mapping[str, str], misfits: Mapping[str, str]) -> list[str]:
    """Columns with a name of ours in another spelling, whose values are something else."""
    absent = [name for name in COLUMNS if name not in CONSENT and name not in columns and name not in names]
    twins = [twin for name in absent if (twin := spelling_of(name, names))]
    return [twin for twin in twins if twin in misfits and twin not in columns.values()]
