"""The import contracts of pyproject.toml are kept, and each of them can break."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
CONTRACTS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
# Contract -> an import that it forbids: the file that would hold it, and the line.
FORBIDDEN = {
    "layers": ("pipelines/stores/runs.py", "import pipelines.steps.train"),
    "planes": ("pipelines/steps/train.py", "import gateway.errors"),
    "core": ("pipelines/core/contract.py", "import numpy"),
    "policy": ("pipelines/policy/night/gate.py", "import pathlib"),
    "side": ("pipelines/reporting/plots.py", "import pipelines.stores.runs"),
    "steps": ("pipelines/steps/gate.py", "import torch"),
    "gateway": ("gateway/metrics.py", "import pipelines.models.trainer"),
    "plugins": ("plugins/nightshift/notify.py", "import pipelines.policy.night.gate"),
    "circles": ("gateway/engines/base.py", "import gateway.http.app"),
}


def lint(root, *arguments):
    """Run `lint-imports` in a checkout; what it printed and its exit status."""
    program = Path(sys.executable).with_name("lint-imports")
    path = f"{root}{os.pathsep}{root / 'plugins'}"
    command = [program, "--no-cache", *arguments]
    return subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the packages, to be spoiled."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("pipelines", "gateway", "plugins"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", root)
    return root


def test_every_contract_is_kept():
    done = lint(PROJECT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract["id"])
def test_a_forbidden_import_breaks_it(copy, contract):
    name, line = FORBIDDEN[contract["id"]]
    text = (copy / name).read_text()
    (copy / name).write_text(f"{text}\n\ndef _unwanted():\n    {line}\n")
    done = lint(copy, "--contract", contract["id"])
    (copy / name).write_text(text)
    assert done.returncode == 1, done.stdout
    assert line.removeprefix("import ").rpartition(".")[0].split(".")[0] in done.stdout


def test_no_two_folders_need_each_other():
    path = f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"
    command = [sys.executable, PROJECT / "docs" / "arrows.py"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout.rpartition("\n\n")[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modules", "libraries"),
    [
        # A rollback is made in a hurry.
        ("operations.rollout models.aliases models.base", "torch transformers peft mlflow"),
        # Before there is a version, or a week of nights, these have nothing to do with the libraries.
        ("steps.decide steps.drift", "torch mlflow evidently presidio_analyzer"),
    ],
)
def test_no_library_is_loaded_for_nothing(modules, libraries):
    """They take seconds."""
    named = ", ".join(f"pipelines.{name}" for name in modules.split())
    code = f"import sys, {named}\nprint(*set({libraries.split()}) & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
