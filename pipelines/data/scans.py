"""SQL that reads one delivered file as typed cells; a value that is not of its column's type is NULL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipelines.core.errors import InputError
from pipelines.core.interactions import COLUMNS, INTERACTION, TEXT_COLUMNS, Kind
from pipelines.data.lake import as_sql_list
from pipelines.data.lines import has_broken_text, write_lines

MESSAGES_TYPE = 'STRUCT("role" VARCHAR, "content" VARCHAR)[]'
DUCKDB_TYPES: dict[Kind, str] = {
    "text": "VARCHAR",
    "time": "TIMESTAMPTZ",
    "messages": MESSAGES_TYPE,
    "int8": "TINYINT",
    "int32": "INTEGER",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
}
TYPE_OF = {column.name: DUCKDB_TYPES[column.kind] for column in INTERACTION}


@dataclass(frozen=True)
class Scan:
    """The columns that a file has, SQL for its rows, and SQL for a row as JSON.

    The SQL has the columns file_no, row_no (from 0), problem (text or NULL) and whole (the row as delivered);
    for each column of the interaction log, the typed value and `has_<column>`: whether there was any value.
    """

    columns: frozenset[str]
    sql: str
    raw: str  # an expression over `whole`, to be used on few rows only


def scan(
    connection: duckdb.DuckDBPyConnection, file: Path, file_no: int, work: Path, max_text_bytes: int
) -> Scan:
    """Prepare one file for reading. Raises InputError when it cannot be read at all."""
    suffix = file.suffix.lower()
    if suffix not in (".parquet", ".jsonl", ".ndjson", ".csv"):
        raise InputError(
            f"{file.name} has none of the endings .parquet, .jsonl, .ndjson and .csv.",
            "Convert the file, or narrow ingest.source.",
        )
    if suffix == ".parquet" and not has_broken_text(file):
        return _scan_parquet(connection, file, file_no)
    lines = work / f"lines-{file_no:04d}.parquet"
    write_lines(file, lines, max_text_bytes)
    return _scan_lines(connection, lines, file_no)


def _scan_parquet(connection: duckdb.DuckDBPyConnection, file: Path, file_no: int) -> Scan:
    source = f"read_parquet({as_sql_list([str(file)])}, file_row_number = true, hive_partitioning = false)"
    described = connection.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {source}").fetchall()
    kinds = {name: kind for name, kind, *_ in described}
    listed = ", ".join(f"{_quoted(name)} := {_quoted(name)}" for name in kinds)
    cells = [
        f"{_quoted(name)} IS NOT NULL AS has_{name}, {_typed(name, kinds[name], _quoted(name))} AS {name}"
        if name in kinds
        else f"false AS has_{name}, CAST(NULL AS {TYPE_OF[name]}) AS {name}"
        for name in COLUMNS
    ]
    sql = (
        f"SELECT {file_no} AS file_no, file_row_number AS row_no, CAST(NULL AS VARCHAR) AS problem, "
        f"struct_pack({listed}) AS whole, {', '.join(cells)} FROM {source}"
    )
    return Scan(frozenset(kinds), sql, "CAST(to_json(whole) AS VARCHAR)")


def _scan_lines(connection: duckdb.DuckDBPyConnection, lines: Path, file_no: int) -> Scan:
    checked = f"""
        SELECT row_no, line AS whole, if(is_object, line, '{{}}') AS object,
          coalesce(problem, if(is_object, NULL, 'not a JSON object')) AS problem
        FROM (SELECT *, json_type(if(json_valid(line), line, 'null')) = 'OBJECT' AS is_object
              FROM read_parquet({as_sql_list([str(lines)])}))"""
    keys = connection.execute(f"SELECT DISTINCT unnest(json_keys(object)) FROM ({checked})").fetchall()
    paths = ", ".join(f"'$.{name}'" for name in COLUMNS)
    cells = [
        f"coalesce(json_type(cells[{i}]), 'NULL') <> 'NULL' AS has_{name}, "
        f"{_from_json(name, f'cells[{i}]')} AS {name}"
        for i, name in enumerate(COLUMNS, start=1)
    ]
    sql = (
        f"SELECT {file_no} AS file_no, row_no, problem, whole, {', '.join(cells)} "
        f"FROM (SELECT *, json_extract(object, [{paths}]) AS cells FROM ({checked}))"
    )
    return Scan(frozenset(key for (key,) in keys), sql, "whole")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _from_json(name: str, cell: str) -> str:
    text = f"if(json_type({cell}) = 'VARCHAR', {cell}->>'$', NULL)"
    if name == "messages":  # CSV, and some logs, hold the list as a text of JSON
        inner = f"if(json_type({cell}) = 'VARCHAR', try_cast({cell}->>'$' AS JSON), {cell})"
        return f"try_cast(if(json_type({inner}) = 'ARRAY', {inner}, NULL) AS {MESSAGES_TYPE})"
    return _typed(name, "VARCHAR", text if name in TEXT_COLUMNS or name == "ts" else f"({cell}->>'$')")


def _typed(name: str, kind: str, value: str) -> str:
    """`value` of DuckDB type `kind` as the column's own type; NULL where the cast would lose or guess."""
    wanted = TYPE_OF[name]
    if kind == wanted and wanted != "TIMESTAMPTZ":
        return f"if(isfinite({value}), {value}, NULL)" if wanted == "DOUBLE" else value
    match wanted:
        case "VARCHAR":
            return "CAST(NULL AS VARCHAR)"
        case "TIMESTAMPTZ":
            readable = kind.startswith(("TIMESTAMP", "DATE", "VARCHAR"))
            cast = f"try_cast({value} AS TIMESTAMPTZ)"
            return f"if(isfinite({cast}), {cast}, NULL)" if readable else "CAST(NULL AS TIMESTAMPTZ)"
        case "INTEGER" | "TINYINT":
            number = f"try_cast({value} AS DOUBLE)"
            return f"if({number} = trunc({number}), try_cast({number} AS {wanted}), NULL)"
        case "DOUBLE":
            number = f"try_cast({value} AS DOUBLE)"
            return f"if(isfinite({number}), {number}, NULL)"
        case "BOOLEAN":
            return f"try_cast({value} AS BOOLEAN)"
    parsed = f"try_cast({value} AS JSON)" if kind == "VARCHAR" else f"to_json({value})"
    return f"try_cast(if(json_type({parsed}) = 'ARRAY', {parsed}, NULL) AS {MESSAGES_TYPE})"
