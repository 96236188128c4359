"""Files and functions stay small, so that a person can read them."""

import ast
from pathlib import Path
from statistics import median

import numpy as np

PROJECT = Path(__file__).resolve().parents[2]
FILES = [
    path
    for folder in ("pipelines", "gateway", "plugins", "dags", "feature_repo")
    for path in sorted((PROJECT / folder).rglob("*.py"))
    if path.name != "__init__.py"
]


def test_files_are_short():
    lines = [len(path.read_text().splitlines()) for path in FILES]
    assert median(lines) <= 100
    assert np.percentile(lines, 95) <= 250


def test_functions_are_short():
    functions = (
        node
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert median(node.end_lineno - node.lineno + 1 for node in functions) <= 8
