"""What a person should know besides the tables: doubts, and what is not read. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.core.config.data import Ingest, Validate
from pipelines.data.reader.raw import Raw
from pipelines.data.row_reader import RowReader
from pipelines.operations.inspect.finding import Inspection
from pipelines.operations.inspect.formats import SPANS, product_of
from pipelines.operations.inspect.kinds import shown
from pipelines.operations.inspect.names import is_vague
from pipelines.operations.inspect.printable import as_toml
from pipelines.operations.inspect.read import Guess
from pipelines.operations.inspect.scales import Scale
from pipelines.operations.inspect.times import unread_times
from pipelines.operations.inspect.unread import unread_text

MOST_NAMED = 6


def hints_of(found: Inspection, guess: Guess, raws: Sequence[Raw], reader: RowReader) -> list[str]:
    """Sentences, the gravest first."""
    names = [column.name for column in found.looked_at.columns]
    rows = [raw.values for raw in raws if raw.values is not None]
    hints = [*_file(found), *_product(guess, rows), *_rows(found)]
    hints += [
        f"{name} holds {why}."
        for name, why in guess.misfits.items()
        if name not in (guess.rating, *_read(guess))
    ]
    if guess.has_ratings:
        hints += scale_hints(guess.scale, guess.rating, "rating")
    if found.first is None:
        hints += [one for one in unread_times(names, rows) if one.split(" holds ")[0] not in guess.misfits]
    if found.format == "langfuse":
        spans = sum(str(row.get("type", "")).upper() in SPANS for row in rows)
        if spans:
            hints.append(
                f"{spans:,} of {len(rows):,} observations are no generations (SPAN, EVENT ...). They are "
                "left out, and do not count against the night."
            )
    hints += unread_text([name for name in names if name not in guess.misfits], raws, reader)
    if found.sizes.too_long:
        hints.append(
            f"About {max(1, round(100 * found.sizes.too_long))}% of the rows are longer than "
            f"{found.sizes.prompt:,} tokens of "
            f"prompt and {found.sizes.answer:,} of answer. Long conversations lose their oldest turns."
        )
    return hints


def scale_hints(scale: Scale, column: str, table: str) -> list[str]:
    """What is doubtful in a scale, and which values it does not read."""
    hints = [f"{column}: {doubt} See [ingest.{table}]." for doubt in scale.doubts]
    if is_vague(column) and scale.read == 1:
        hints.append(
            f"{column} is taken for the users' rating. If it is a score of the model or of another "
            "judge, remove its "
            "line under [ingest.columns]."
        )
    if scale.unread:
        told = ", ".join(shown(value) for value in scale.unread[:MOST_NAMED])
        more = f" and {len(scale.unread) - MOST_NAMED} more" if len(scale.unread) > MOST_NAMED else ""
        first = as_toml(scale.unread[0][:40])
        hints.append(
            f"{column} holds {told}{more}, which no scale here reads: these rows are refused. Write "
            "each value under "
            f"[ingest.{table}], such as neutral = [{first}]; numbers go by good_from and bad_to."
        )
    return hints


def _read(guess: Guess) -> Iterator[str]:
    yield from guess.settings.get("columns", {}).values()


def _file(found: Inspection) -> Iterator[str]:
    looked_at = found.looked_at
    if looked_at.files > 1:
        yield (
            f"{looked_at.files} files are named; only the first is looked at here. "
            "ingest.source reads all of them."
        )
    if looked_at.more_columns:
        yield (
            f"{looked_at.more_columns:,} more columns were not looked at: the "
            f"{len(looked_at.columns)} most filled were. "
            "Does the log use ids as keys?"
        )


def _product(guess: Guess, rows: Sequence[dict[str, object]]) -> Iterator[str]:
    product, columns = product_of(rows), guess.settings.get("columns", {})
    read = [
        f"{ours} = {as_toml(columns[ours])}"
        for ours in ("messages", "prompt", "completion")
        if ours in columns
    ]
    if guess.is_searched:
        where = f"This looks like an export of {product}. " if product else ""
        yield f"{where}A search found the conversation: {', '.join(read)}. Check that the model saw this."
    elif product and not any(name in columns for name in ("messages", "prompt", "completion")):
        yield (
            f"This looks like an export of {product}, whose rows have no form of their own here. Name "
            "its conversation "
            "under [ingest.columns]: messages (a list of role and content) or prompt, and completion."
        )


def _rows(found: Inspection) -> Iterator[str]:
    if found.clashes:
        theirs = found.settings.get("columns", {}).get("request_id", "request_id")
        yield (
            f"{theirs} repeats with different content: {found.clashes:,} rows share the id of another "
            "answer, and are refused, because nobody knows which one the feedback means. Give each answer "
            "its own id, or remove the column: then the content names the row."
        )
    if any(one.reason == "opt_out is missing" for one in found.refused):
        yield (
            "Some rows say opt_out, and those that do not are refused. If no word means yes, write "
            "opt_out_if_missing = false under [ingest]."
        )
    if any(" bytes" in one.reason for one in found.refused):
        yield f"Longer texts are refused: set ingest.max_text_bytes (now {Ingest().max_text_bytes:,})."
    refused = sum(one.rows for one in (*found.refused, *found.invalid) if one.is_chat)
    most = Validate().max_quarantined_share
    if not found.held and refused > most * found.looked_at.rows:
        yield (
            f"{refused / found.looked_at.rows:.0%} of the rows are refused. "
            f"validate.max_quarantined_share ({most:.0%}) holds "
            "such a night: correct the rows or the mapping."
        )
