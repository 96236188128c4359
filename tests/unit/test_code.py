"""A step's code digest covers what the step uses, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.core.code import ROOT, code_digest, files_of, module_digest
from pipelines.core.contract import CLOSING, NIGHTLY

FILES = {
    "pipelines/__init__.py": "",
    "pipelines/steps/__init__.py": "",
    "pipelines/steps/report.py": "import json\nfrom pipelines.drawing import plots\n",
    "pipelines/steps/train.py": """
from __future__ import annotations
from typing import Any
import numpy as np
from pipelines.models import (
    trainer,
)
from feature_repo.activity import VIEWS

def run(ctx: Any) -> None:
    if ctx:
        try:
            from pipelines.lazy import work
        except ImportError:
            import pipelines.fallback
""",
    "pipelines/models/__init__.py": "",
    "pipelines/models/trainer.py": "from . import order\nfrom ..shared import CONSTANT\n",
    "pipelines/models/order.py": "import pipelines.models.trainer  # a circle ends\n",
    "pipelines/models/unused.py": "",
    "pipelines/shared.py": "CONSTANT = 1\n",
    "pipelines/lazy.py": "",
    "pipelines/fallback.py": "",
    "pipelines/status.py": "from pipelines.models import trainer\n",
    "pipelines/drawing/__init__.py": "",
    "pipelines/drawing/plots.py": "",
    "pipelines/drawing/templates/page.html.j2": "<html>",
    "pipelines/drawing/__pycache__/plots.pyc": "bytes",
    "feature_repo/activity.py": "VIEWS = ()\n",
    "feature_repo/local.py": "",
}
TRAIN = {
    "pipelines/__init__.py", "pipelines/steps/__init__.py", "pipelines/steps/train.py",
    "pipelines/models/__init__.py", "pipelines/models/trainer.py", "pipelines/models/order.py",
    "pipelines/shared.py", "pipelines/lazy.py", "pipelines/fallback.py", "feature_repo/activity.py",
}  # fmt: skip
REPORT = {
    "pipelines/__init__.py", "pipelines/steps/__init__.py", "pipelines/steps/report.py",
    "pipelines/drawing/__init__.py", "pipelines/drawing/plots.py", "pipelines/drawing/templates/page.html.j2",
}  # fmt: skip


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("pipelines.core.code.ROOT", tmp_path)
    return tmp_path


def digest(step):
    module_digest.cache_clear()  # each step is a process of its own
    return code_digest(step)


def edited(tree, name, step):
    """Whether the step's digest changes with a file."""
    before, text = digest(step), (tree / name).read_text()
    (tree / name).write_text(text + "# edited\n")
    after = digest(step)
    (tree / name).write_text(text)
    assert digest(step) == before
    return after != before


@pytest.mark.parametrize(("step", "used"), [("train", TRAIN), ("report", REPORT)])
def test_the_files_of_a_step_are_found_by_its_imports(tree, step, used):
    found = files_of(f"pipelines.steps.{step}", tree)
    assert {path.relative_to(tree).as_posix() for path in found} == used
    assert found == sorted(found)


@pytest.mark.parametrize(("step", "used"), [("train", TRAIN), ("report", REPORT)])
def test_a_used_file_changes_the_digest_and_no_other_does(tree, step, used):
    assert {name for name in FILES if edited(tree, name, step)} == used


def test_a_template_that_is_added_changes_the_digest(tree):
    before = digest("report")
    (tree / "pipelines" / "drawing" / "templates" / "new.css").write_text("")
    assert digest("report") != before


def test_nothing_is_imported(tree):
    (tree / "pipelines" / "shared.py").write_text("raise AssertionError('imported')\n")
    before = set(sys.modules)
    assert digest("train")
    assert set(sys.modules) == before


def used_by(step):
    return {path.relative_to(ROOT).as_posix() for path in files_of(f"pipelines.steps.{step}", ROOT)}


@pytest.mark.parametrize("step", [*NIGHTLY, *CLOSING])
def test_every_step_uses_itself_the_runner_and_no_command_line(step):
    used = used_by(step)
    assert {f"pipelines/steps/{step}.py", "pipelines/runner.py", "pipelines/core/contract.py"} <= used
    assert not {name for name in used if name.startswith(("pipelines/cli/", "pipelines/operations/status"))}


def test_what_real_steps_use():
    assert "pipelines/reporting/templates/report.html.j2" in used_by("report")
    assert "feature_repo/activity.py" in used_by("features")
    assert "pipelines/models/checkpoints.py" in used_by("train")
    assert "pipelines/models/checkpoints.py" not in used_by("drift")


def test_a_digest_takes_well_under_a_second():
    module_digest.cache_clear()
    started = time.process_time()
    code_digest("ingest")
    assert time.process_time() - started < 0.5


def test_what_python_loads_for_a_step_is_covered():
    loaded = """
import sys
import pipelines.steps.gate
print(*(m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "pipelines"), sep="\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = {Path(line).relative_to(ROOT).as_posix() for line in done.stdout.split()}
    assert len(found) > 20
    assert found <= used_by("gate")
