"""Checkpoints outlive a pod: another home takes them over, and the training is the undisturbed one."""

import shutil
from datetime import UTC, datetime

import pytest

from pipelines.core.config import Cost, Train, load_config
from pipelines.core.contract import Usage
from pipelines.models.base import load_tokenizer
from pipelines.models.checkpoint_copies import CheckpointCopies
from pipelines.models.checkpoints import mark_complete
from pipelines.models.interruptions import Attempt
from pipelines.models.rendering import Rendering
from pipelines.models.trainer import train
from pipelines.stores.ledger.costs import priced_interruptions
from tests.support import tiny
from tests.support.configs import TINY
from tests.support.manifests import make_manifest


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


class Clock:
    """A process on two cores and one GPU, after so many seconds."""

    seconds = 0.0

    def __call__(self):
        began = datetime(2026, 1, 1, tzinfo=UTC)
        s = self.seconds
        return Usage(started_at=began, seconds=s, cpu_seconds=2 * s, gpu_seconds=s)


def attempt(config, tmp_path, machine, reported, saved):
    """An attempt that is killed. `reported`: when each step ended. `saved`: those that got a checkpoint."""
    kept, scratch = copies(config, tmp_path, machine)
    kept.fetch()
    clock = Clock()
    here = Attempt(scratch, clock)
    kept.keep()
    for clock.seconds in reported:
        here.step()
        kept.keep(at_once=True)
        if clock.seconds in saved:
            checkpoint(scratch, int(clock.seconds))
    return kept, here


def test_what_killed_attempts_cost_is_known(config, tmp_path):
    attempt(config, tmp_path, "one", [10, 12, 14, 17], [14])  # kept: 10 to 14
    attempt(config, tmp_path, "two", [], [])  # a note at its start
    attempt(config, tmp_path, "three", [5, 6], [])  # kept: nothing
    kept, last = attempt(config, tmp_path, "four", [5, 6, 7], [6])
    kept.forget(last.name)
    found = last.finish()
    assert (found.times, found.seconds, found.cpu_seconds, found.gpu_seconds) == (3, 19, 38, 19)
    train = make_manifest("train", readings={"interruptions": found.model_dump()})
    priced = priced_interruptions({"train": train}, Cost(cpu_hour=36.0, gpu_hour=360.0, currency="EUR"))
    assert priced.sentence == (
        "The training was interrupted 3 times; 19 s of work were done again, "
        "with 38 CPU seconds and 19 GPU seconds, for 2.28 EUR."
    )


def test_an_undisturbed_training_was_not_interrupted(config, tmp_path):
    kept, only = attempt(config, tmp_path, "one", [5, 6, 7], [6])
    kept.forget(only.name)
    assert only.finish() is None
    _, last = attempt(config, tmp_path, "two", [5], [])  # as with --rerun
    assert last.finish() is None
    assert priced_interruptions({"train": make_manifest("train")}, Cost()) is None


class Preempted(Exception):
    pass


def rows_of(count):
    return [
        {
            "prompt": [{"role": "user", "content": f"Question {number * 7919} about an organ"}],
            "completion": [{"role": "assistant", "content": ("Anatomy", "Dental")[number % 2]}],
        }
        for number in range(count)
    ]


def trained(base, config, tmp_path, machine, taken_at=None):
    """A training on one machine. `taken_at`: the step after which the machine is taken away."""
    kept, scratch = copies(config, tmp_path, machine)
    kept.fetch()
    steps = []

    def report(step, values):
        kept.keep()
        steps.append(step)
        if step == taken_at:
            raise Preempted

    rendering = Rendering(load_tokenizer(base), "", 256)
    settings = Train(
        rank=4, batch_size=4, epochs=2, learning_rate=1e-2, save_every_steps=2, eval_every_steps=2
    )
    return train(base, rendering, settings, rows_of(16), rows_of(4), 7, scratch, report=report), steps


@pytest.mark.slow
def test_a_training_that_moved_ends_like_an_undisturbed_one(config, tmp_path):
    base = tiny.make_base(tmp_path / "base")
    calm, _ = trained(base, load_config(TINY, tmp_path / "home"), tmp_path, "calm")
    with pytest.raises(Preempted):
        trained(base, config, tmp_path, "one", taken_at=5)
    moved, steps = trained(base, config, tmp_path, "two")
    assert min(steps) == 5  # the checkpoint at step 4
    curves = [(one.steps, one.loss, one.dev_loss, one.grad_norm) for one in (calm, moved)]
    assert curves[0] == curves[1]
    weights = [(one.adapter / "adapter_model.safetensors").read_bytes() for one in (calm, moved)]
    assert weights[0] == weights[1]
    assert moved.adapter.parent == tmp_path / "two" / "0123456789abcdef"
