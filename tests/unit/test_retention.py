"""Data of people go after a while; the ledger says so, and `verify` does not call them lost."""

import os
import time

import pytest

from pipelines.core.config import load_config
from pipelines.operations.verify import verify
from pipelines.stores import open_ledger
from pipelines.stores.retention import prune
from pipelines.stores.runs import Run
from tests.support.nightfall import finish

DAY_S = 86_400


@pytest.fixture
def config(home):
    return load_config("config/demo.toml", home, {"retention.run_data_days": 10})


@pytest.fixture
def run(config, home):
    """A run whose work was done on 1 January 2026, with data of people and without."""
    run = Run(f"{home}/runs/2026-01-01")
    for name in ("train.jsonl", "dev.jsonl", "card.md", "report.html"):
        (home / name).write_text(name)
    outputs = {"train": home / "train.jsonl", "dev": home / "dev.jsonl", "card": home / "card.md"}
    finish(run, "curate", {}, outputs)
    finish(run, "report", {}, {"report": home / "report.html"})
    return run


def files(home, part):
    return sorted(path.name for path in (home / part).rglob("*") if path.is_file())


def test_old_rows_go_and_verify_knows(config, home, run, capsys):
    open_ledger(config)
    assert verify(config) == 0
    assert sorted(prune(config)) == ["2026-01-01/curate/dev.jsonl", "2026-01-01/curate/train.jsonl"]
    assert files(home, "runs/2026-01-01/curate") == ["card.md", "manifest.json"]
    assert files(home, "runs/2026-01-01/report") == ["manifest.json", "report.html"]
    assert prune(config) == []
    assert verify(config) == 0
    assert "2 files were removed on purpose" in capsys.readouterr().out


def test_a_file_that_nobody_removed_on_purpose_is_missing(config, home, run, capsys):
    prune(config)
    (home / "runs/2026-01-01/curate/card.md").unlink()
    assert verify(config) == 2
    assert "card.md: missing" in capsys.readouterr().out


def killed(*_):
    raise RuntimeError("killed")


def test_a_kill_between_record_and_removal_is_made_good(config, home, run, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.stores.blobs.Folder.remove", killed)
        with pytest.raises(RuntimeError, match="killed"):
            prune(config)
    assert (home / "runs/2026-01-01/curate/train.jsonl").exists()
    assert len(prune(config)) == 2
    assert not (home / "runs/2026-01-01/curate/train.jsonl").exists()


def test_new_runs_stay(config, home, run):
    config = load_config("config/demo.toml", home)
    at = time.mktime((2026, 1, 20, 0, 0, 0, 0, 0, 0))
    assert prune(config, now=at) == []


def test_old_deliveries_and_checkpoints_go(config, home):
    old = time.time() - 100 * DAY_S
    for name in (
        "gateway/interactions/dt=2026-01-01/part.parquet",
        "scratch/2026-01-01/train/abc/checkpoint",
    ):
        for number, parent in enumerate(("old", "new")):
            path = home / name.replace("2026-01-01", f"2026-01-0{number + 1}")
            path.parent.mkdir(parents=True)
            path.write_text("x")
            if parent == "old":
                os.utime(path, (old, old))
                os.utime(path.parent, (old, old))
    assert len(prune(config)) == 2
    assert files(home, "gateway") == ["part.parquet"]
    assert files(home, "scratch") == ["checkpoint"]
