"""`nightshift migrate`: the home of one machine moves to PostgreSQL and S3."""

import shutil
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipelines.cli.main import main
from pipelines.core.config import load_config
from pipelines.core.errors import InputError
from pipelines.models.registry import Registry
from pipelines.models.tracker import Tracker
from pipelines.operations.databases import LEDGER, upgrade
from pipelines.operations.migrate import files, move
from pipelines.operations.migrate.files import copy_folder
from pipelines.operations.migrate.registry import _moved, copy_registry
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.copying import copy_ledger
from pipelines.stores.ledger.tables import AUDIT
from tests.support.journal import journal_rows, rows_at
from tests.unit.test_ledger import cost, document

OLD = Path(__file__).parents[1] / "fixtures" / "home_v0_1"


@pytest.fixture
def ledger(home):
    return Ledger(f"sqlite:///{home}/ledger.db")


@pytest.fixture
def other(database):
    upgrade(LEDGER, database)
    return Ledger(database)


def fill(ledger, nights):
    for night in nights:
        ledger.add_decision(document(night), "s")
        ledger.add_cost(cost(night=night))
        ledger.add_task_event("dag", night, "train", 1, "success")


def links(ledger):
    return ledger.rows(sa.select(AUDIT).order_by(AUDIT.c.seq))


def test_a_ledger_is_the_same_afterwards(ledger, other):
    fill(ledger, ["2026-01-01", "2026-01-02"])
    assert copy_ledger(ledger, other) == 6
    assert links(other) == links(ledger)
    assert other.verify() == 6
    fill(ledger, ["2026-01-03"])
    assert copy_ledger(ledger, other) == 9
    assert (other.verify(), other.decisions()) == (9, ledger.decisions())


def test_a_copy_that_was_interrupted_goes_on(ledger, other, monkeypatch):
    monkeypatch.setattr("pipelines.stores.ledger.copying.LINKS_AT_ONCE", 4)
    fill(ledger, ["2026-01-01", "2026-01-02", "2026-01-03"])
    taken, take_over = [], other.take_over

    def broken(batch):
        if taken:
            raise KeyboardInterrupt
        taken.append(take_over(batch))

    monkeypatch.setattr(other, "take_over", broken)
    with pytest.raises(KeyboardInterrupt):
        copy_ledger(ledger, other)
    monkeypatch.setattr(other, "take_over", take_over)
    assert len(links(other)) == 4
    copy_ledger(ledger, other)
    assert links(other) == links(ledger)


def test_another_ledger_is_not_overwritten(ledger, other):
    fill(ledger, ["2026-01-01"])
    fill(other, ["2025-12-31"])
    with pytest.raises(InputError, match="has 3 links of its own"):
        copy_ledger(ledger, other)


@pytest.mark.slow
def test_registered_adapters_are_fetched_from_there(home, database, bucket, tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    old, root = f"sqlite:///{home}/mlflow.db", f"{home}/mlartifacts"
    tracker = Tracker(old, root)
    run = tracker.run("2026-01-01", "fingerprint")
    Registry(old, "router").register(folder, tracker, run, "2026-01-01", ("2026-01-01",), {})
    for _ in range(2):  # the second time everything is there
        copied = copy_registry(old, root, database, f"{bucket}/mlartifacts")
        copy_folder(root, f"{bucket}/mlartifacts", print)
    assert copied > 10
    there = Registry(database, "router")
    (found,) = there.versions()
    assert found.uri.startswith(bucket)
    assert (there.fetch("1") / "adapter_model.safetensors").read_bytes() == b"weights"
    again = Tracker(database, f"{bucket}/mlartifacts")
    assert again.run("2026-01-01", "fingerprint") == run
    (folder / "adapter_model.safetensors").write_bytes(b"others")
    new = there.register(folder, again, again.run("2026-01-02", "f"), "2026-01-02", ("2026-01-02",), {})
    assert new.version == "2"


def test_files_are_copied_once_and_manifests_last(tmp_path, bucket, monkeypatch):
    run = tmp_path / "runs" / "2026-01-01" / "ingest"
    run.mkdir(parents=True)
    for name in ("manifest.json", "rows.parquet", "z.txt", ".half.txt"):
        (run / name).write_text(name)
    (run.parent / "attempts" / "train.attempt-1").mkdir(parents=True)
    (run.parent / "attempts" / "train.attempt-1" / "half.bin").write_text("of a step that was killed")
    order = []
    monkeypatch.setattr(files, "_copy", lambda there, path, other, target: order.append(target))
    files.copy_folder(str(tmp_path / "runs"), f"{bucket}/runs", print)
    assert [path.rpartition("/")[2] for path in order] == ["rows.parquet", "z.txt", "manifest.json"]
    monkeypatch.undo()
    counts = [files.copy_folder(str(tmp_path / "runs"), f"{bucket}/runs", print) for _ in range(2)]
    assert counts == [3, 0]


@pytest.fixture
def profiles(home, tmp_path, postgres, database, bucket):
    """The command's options: an old home with its profile, and the profile that machines share."""
    shutil.copytree(OLD / "home", home, dirs_exist_ok=True)
    with sqlite3.connect(home / "mlflow.db") as mlflow:
        mlflow.executescript((OLD / "mlflow.sql").read_text().replace("@HOME@", str(home)))
    lines = (OLD / "profile.toml").read_text().splitlines()
    old = "\n".join(line for line in lines if not line.startswith("source = "))
    mlflow_url = postgres.create(f"mlflow_{home.stat().st_ino}")
    urls = {"ledger_url": database, "journal_url": database, "tracking_uri": mlflow_url}
    roots = ("runs_root", "lake_root", "shared_root", "artifact_root")
    shared = {**urls, **{name: f"{bucket}/{name}" for name in roots}, "keys": str(tmp_path / "keys")}
    (tmp_path / "old.toml").write_text(old)
    (tmp_path / "new.toml").write_text("".join(f'{k} = "{v}"\n' for k, v in shared.items()) + old)
    return ["--home", str(home), "--config", str(tmp_path / "old.toml")], str(tmp_path / "new.toml")


@pytest.mark.slow
def test_a_home_moves_and_both_sides_verify(profiles, tmp_path, capsys, monkeypatch):
    where, new = profiles
    words = ["migrate", *where, "--to", new, "--to-home", str(tmp_path / "other")]
    routing_key = Path(where[1]) / "gateway" / "routing.key"
    routing_key.write_bytes(b"of a home from before" * 2)
    real, stages = move.copy_folder, []

    def interrupted(here, there, progress):
        stages.append(there)
        if len(stages) == 2:
            raise KeyboardInterrupt
        return real(here, there, progress)

    monkeypatch.setattr(move, "copy_folder", interrupted)
    assert main(words) == 130, "interrupted between the runs and the lake"
    assert main(words) == 2, "the old home is a fixture without its large files"
    moved = capsys.readouterr().out
    assert "ledger: 163 links, the chain is whole" in moved
    assert (tmp_path / "keys" / "routing.key").read_bytes() == routing_key.read_bytes()
    assert main(["verify", *where]) == 2
    before = capsys.readouterr().out
    there = ["--home", str(tmp_path / "third"), "--config", new]
    assert main(["verify", *there]) == 2
    assert capsys.readouterr().out == before
    assert main(["status", *where, "--json"]) == 0
    old = capsys.readouterr().out
    assert main(["status", *there, "--json"]) == 0
    config = load_config(new, tmp_path / "third")
    assert capsys.readouterr().out.replace(config.runs_root, f"{where[1]}/runs") == old
    assert rows_at(config.journal_url) == journal_rows(where[1])
    assert rows_at(config.journal_url)


def test_a_profile_of_one_machine_is_no_target(profiles, capsys):
    where, _ = profiles
    assert main(["migrate", *where, "--to", where[3]]) == 2
    assert "which machines cannot share" in capsys.readouterr().err


def test_only_addresses_below_the_old_root_move():
    row = {"a": "file:///h/mlartifacts/1/x", "b": "file:///h/mlartifacts", "c": "file:///h/mlartifacts-old/1"}
    moved = _moved(row, "file:///h/mlartifacts", "s3://b/new")
    assert moved == {"a": "s3://b/new/1/x", "b": "s3://b/new", "c": row["c"]}
