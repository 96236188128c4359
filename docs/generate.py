"""Writes docs/dags/*.md from the docstrings of dags/*.py: `make docs`. `--check` only compares them."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DOCS = PROJECT / "docs" / "dags"


def pages() -> dict[Path, str]:
    """The path and the text of each DAG's page. The text is the docstring that Airflow shows."""
    found = {}
    for source in sorted((PROJECT / "dags").glob("*.py")):
        docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
        note = f"<!-- made by docs/generate.py from dags/{source.name}: edit that -->"
        found[DOCS / f"{source.stem}.md"] = f"{note}\n{docstring}\n"
    return found


def main(arguments: list[str]) -> int:
    expected = pages()
    present = {path: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    stale = sorted(path for path in {*expected, *present} if expected.get(path) != present.get(path))
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(PROJECT)} differs from its DAG's docstring: run `make docs`")
        return 1 if stale else 0
    DOCS.mkdir(parents=True, exist_ok=True)
    for path in stale:
        if path in expected:
            path.write_text(expected[path], encoding="utf-8")
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
