"""Arrows point one way: dags -> plugins -> contract, config; steps -> policy, adapters; policy -> nothing."""

import ast
import sys
from pathlib import Path

import pytest

FREE_OF_VENDORS = {"numpy", "pipelines"}


def imports(path):
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def stdlib(name):
    return name.split(".")[0] in sys.stdlib_module_names


def files(folder):
    found = sorted(Path(folder).rglob("*.py"))
    assert found, folder
    return found


@pytest.mark.parametrize("path", files("pipelines/policy"), ids=str)
def test_policy_is_pure(path):
    for name in imports(path):
        assert stdlib(name) or name.split(".")[0] in FREE_OF_VENDORS, f"{path} imports {name}"
        assert not name.startswith(("pipelines.adapters", "pipelines.steps", "pipelines.runner")), name
        assert name.split(".")[0] not in {"os", "pathlib", "time", "subprocess", "io", "socket"}, name


@pytest.mark.parametrize("path", files("pipelines/steps"), ids=str)
def test_steps_name_no_vendor(path):
    small = {"numpy", "pyarrow", "pydantic", "filelock", "jinja2"}
    for name in imports(path):
        assert stdlib(name) or name.split(".")[0] in small | {"pipelines", "feature_repo", "gateway"}, (
            f"{path} imports {name}"
        )


@pytest.mark.parametrize("path", [*files("pipelines"), *files("gateway")], ids=str)
def test_the_work_plane_never_imports_airflow(path):
    assert not [name for name in imports(path) if name.split(".")[0] == "airflow"]


@pytest.mark.parametrize("path", [*files("dags"), *files("plugins")], ids=str)
def test_the_control_plane_imports_no_ml(path):
    light = ("contract", "config", "errors", "adapters.ledger", "adapters.ledger_tables", "adapters.inbox")
    ours = {f"pipelines.{name}" for name in light}
    ours |= {"gateway.journal"}  # the standard library only
    airflow_brings = {"airflow", "fastapi", "jinja2", "pydantic", "psutil", "sqlalchemy"}
    for name in imports(path):
        allowed = name in ours or stdlib(name) or name.split(".")[0] in airflow_brings | {"nightshift"}
        assert allowed, f"{path} imports {name}"
