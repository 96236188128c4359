"""Checkpoints outlive a pod: another home takes them over, and the training is the undisturbed one."""

import shutil

import pytest

from pipelines.core.config import load_config
from pipelines.models.checkpoint_copies import CheckpointCopies
from pipelines.models.checkpoints import mark_complete
from tests.support.configs import TINY


def checkpoint(scratch, step, text="weights"):
    folder = scratch / f"checkpoint-{step}"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "adapter.bin").write_text(f"{text} {step}")
    mark_complete(folder, stopped=False)


def names(scratch):
    return sorted(path.relative_to(scratch).as_posix() for path in scratch.rglob("*") if path.is_file())


@pytest.fixture
def config(tmp_path):
    return load_config(TINY, tmp_path / "home", {"shared_root": str(tmp_path / "shared")})


def copies(config, tmp_path, machine):
    scratch = tmp_path / machine / "0123456789abcdef"
    scratch.mkdir(parents=True, exist_ok=True)
    return CheckpointCopies(config, "2026-01-01", scratch), scratch


def test_another_machine_takes_over_what_is_complete(config, tmp_path):
    first, scratch = copies(config, tmp_path, "one")
    checkpoint(scratch, 20)
    (scratch / "checkpoint-40").mkdir()
    (scratch / "checkpoint-40" / "torn.bin").write_text("torn")
    first.keep()
    second, other = copies(config, tmp_path, "two")
    second.fetch()
    assert names(other) == ["checkpoint-20/complete.json", "checkpoint-20/inner/adapter.bin"]
    assert (other / "checkpoint-20/inner/adapter.bin").read_text() == "weights 20"


def test_a_checkpoint_that_training_dropped_is_dropped_here_too(config, tmp_path):
    first, scratch = copies(config, tmp_path, "one")
    for step in (20, 40):
        checkpoint(scratch, step)
        first.keep()
    shutil.rmtree(scratch / "checkpoint-20")
    checkpoint(scratch, 60)
    first.keep()
    second, other = copies(config, tmp_path, "two")
    second.fetch()
    assert {name.split("/")[0] for name in names(other)} == {"checkpoint-40", "checkpoint-60"}


def test_a_copy_that_was_cut_short_is_no_checkpoint(config, tmp_path):
    first, scratch = copies(config, tmp_path, "one")
    checkpoint(scratch, 20)
    first.keep()
    (mark,) = (tmp_path / "shared").rglob("complete.json")
    mark.unlink()
    second, other = copies(config, tmp_path, "two")
    second.fetch()
    assert names(other) == []


def test_a_machine_with_checkpoints_of_its_own_keeps_to_them(config, tmp_path):
    first, scratch = copies(config, tmp_path, "one")
    checkpoint(scratch, 20)
    first.keep()
    second, other = copies(config, tmp_path, "two")
    checkpoint(other, 40)
    second.fetch()
    assert {name.split("/")[0] for name in names(other)} == {"checkpoint-40"}


def test_a_home_that_everything_lies_in_has_no_copies(tmp_path):
    config = load_config(TINY, tmp_path / "home")
    first, scratch = copies(config, tmp_path, "one")
    checkpoint(scratch, 20)
    first.keep()
    first.fetch()
    assert not (tmp_path / "home" / "checkpoints").exists()
