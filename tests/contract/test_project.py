"""What gets installed: the packages `pipelines` and `gateway`, with their templates, and the command."""

import importlib
import tomllib
from pathlib import Path

import pytest

from pipelines.cli.main import main

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


@pytest.mark.parametrize("package", ["pipelines", "gateway"])
def test_every_folder_with_code_is_a_package(package):
    """Others are left out of the wheel."""
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
    assert f"{package}*" in SETUPTOOLS["packages"]["find"]["include"]


def test_every_file_beside_the_code_is_named():
    """Others are left out of the wheel."""
    packed = {
        path
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    there = {path for package in ("pipelines", "gateway") for path in (ROOT / package).rglob("*.*")}
    assert {path for path in there if path.is_file() and path.suffix not in (".py", ".pyc")} == packed


def test_the_console_command_is_the_same_function():
    module, _, function = PROJECT["project"]["scripts"]["nightshift"].partition(":")
    assert getattr(importlib.import_module(module), function) is main


def test_extras_are_the_lists_that_are_locked():
    extras = SETUPTOOLS["dynamic"]["optional-dependencies"]
    assert {name: extra["file"] for name, extra in extras.items()} == {
        "work": ["requirements/pipelines.in"],
        "airflow": ["requirements/airflow.in"],
    }
