"""How long the prompts of real traffic are beside model.max_prompt_tokens, and what does not fit."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import islice
from math import ceil
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from pipelines.core.config import Config
from pipelines.core.conversations import Message
from pipelines.core.errors import InputError
from pipelines.core.tools import with_tools
from pipelines.data import delivery, open_lake
from pipelines.data.reader.files import rows_of_file
from pipelines.data.row_reader import RowReader
from pipelines.data.schema import rows_of
from pipelines.models.rendering import CannotRender, Rendering
from pipelines.operations.doctor.finding import Finding
from pipelines.operations.doctor.lengths import Lengths, row_of

MOST_ROWS = 1_000
MOST = 10**9  # tokens, so that nothing is cut


def look_at_traffic(config: Config, rendering: Rendering) -> tuple[list[Lengths], list[Finding]]:
    """The prompts of the lake, or before the first night of the newest file that `ingest.source` names."""
    asked = _of_lake(config) or _of_file(config)
    whole = Rendering(rendering.tokenizer, config.task.system_prompt, MOST)
    tokens, refused = [], []
    for messages in asked:
        try:
            tokens.append(len(whole.prompt(messages).ids))
        except CannotRender as error:
            refused.append(error)
    most = config.model.max_prompt_tokens
    table = [row_of("prompts of the log", tokens, most, "model.max_prompt_tokens")] if tokens else []
    return table, [*_long(tokens, most), *_refused(refused, len(asked))]


def _long(tokens: Sequence[int], most: int) -> list[Finding]:
    if not tokens:
        return []
    long = sum(number > most for number in tokens)
    if not long:
        return [Finding("ok", "log", f"All {len(tokens)} prompts that were read fit into {most} tokens.")]
    nearly_all = sorted(tokens)[ceil(0.99 * len(tokens)) - 1]
    said = (
        f"{long} of {len(tokens)} prompts ({long / len(tokens):.1%}) are longer than {most} tokens: "
        "they lose their oldest turns or are left out."
    )
    enough = f"; {nearly_all} is enough for 99%" if most < nearly_all < max(tokens) else ""
    return [
        Finding("warn", "log", said, f"Set model.max_prompt_tokens to {max(tokens)} to keep all{enough}.")
    ]


def _refused(errors: Sequence[CannotRender], read: int) -> list[Finding]:
    if not errors:
        return []
    why = errors[0].problem[:1].lower() + errors[0].problem[1:]
    said = f"{len(errors)} of {read} conversations cannot be asked and are left out. The first: {why}"
    return [Finding("warn", "log", said, errors[0].remedy)]


def _of_lake(config: Config) -> list[Sequence[Message]]:
    today = datetime.now(UTC).date()
    drawn = f"SELECT messages, tools FROM interactions ORDER BY md5(request_id) LIMIT {MOST_ROWS}"
    rows = rows_of(open_lake(config).query(drawn, date.min, today, today))
    return [with_tools(row["messages"], row["tools"]) for row in rows]


def _of_file(config: Config) -> list[Sequence[Message]]:
    if config.ingest.kind != "files":
        return []
    pattern = config.ingest.source.replace("{home}", config.home).replace("{night}", "*")
    try:
        fs, files = delivery.find(pattern)
        if not files:
            return []
        with tempfile.TemporaryDirectory(prefix="nightshift-doctor-") as folder:
            file = Path(files[-1].path)
            if not isinstance(fs, LocalFileSystem):
                file = Path(folder) / file.name
                fs.get_file(files[-1].path, str(file))
            return _read(config, file, files[-1].name)
    except InputError:  # ingest names it, with what to do
        return []


def _read(config: Config, file: Path, name: str) -> list[Sequence[Message]]:
    reader = RowReader(config, datetime.now(UTC).date())
    read = (reader.read(raw) for raw in rows_of_file(file, name, config.ingest.csv_nulls))
    rows = [row.cells for row in islice(read, MOST_ROWS) if row.cells.get("messages")]
    return [with_tools(_plain(row["messages"]), row.get("tools")) for row in rows if not row.get("opt_out")]


def _plain(turns: Sequence[Message]) -> list[Message]:
    return [{key: said for key, said in turn.items() if said is not None} for turn in turns]
