"""Trainings in processes of their own that are killed or asked to stop, and what has to come of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.core.config import Train
from pipelines.core.errors import STOPPED
from pipelines.models.registry import adapter_digest

STEPS, EVERY = 12, 4  # of the optimizer, and between two checkpoints
# A process of its own, slowed down so that the kill hits it at work.
CHILD = """
import json, sys, time
from pathlib import Path
from pipelines.core.config import Train
from pipelines.core.errors import STOPPED, Interrupted
from pipelines.models.checkpoints import save_adapter
from pipelines.models.base import load_tokenizer
from pipelines.models.rendering import Rendering
from pipelines.models.trainer import train
base, rows, dev, scratch, out, pause = sys.argv[1:7]

def report(step, values):
    if "loss" in values:
        print(step, flush=True)
        time.sleep(float(pause))

lines = [json.loads(Path(path).read_text()) for path in (rows, dev)]
settings = Train.model_validate_json(sys.argv[7])
given = {"objective": sys.argv[8], "start": Path(sys.argv[9]) if sys.argv[9] else None}
rendering = Rendering(load_tokenizer(Path(base)), "", 256)
try:
    trained = train(
        Path(base), rendering, settings, *lines, seed=7, scratch=Path(scratch), report=report, **given
    )
except Interrupted as stopped:
    print(stopped, flush=True)
    sys.exit(STOPPED)
save_adapter(trained, Path(out), "tiny")
curves = {"loss": trained.loss, "dev_loss": trained.dev_loss, "grad_norm": trained.grad_norm}
(Path(out).parent / f"{Path(out).name}.json").write_text(json.dumps(curves))
"""


@dataclass(frozen=True)
class Children:
    """Starts the same training again and again. `folder` has what came of each, by its name."""

    folder: Path
    base: Path
    settings: Train
    objective: str
    adapter: Path | None  # that training starts from

    def start(self, name: str, pause: str = "0") -> subprocess.Popen[str]:
        folder = self.folder
        paths = [self.base, folder / "rows", folder / "dev", folder / f"{name}-scratch", folder / name]
        given = [pause, self.settings.model_dump_json(), self.objective, str(self.adapter or "")]
        command = [sys.executable, "-c", CHILD, *map(str, paths), *given]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def equals_the_calm_one(self, name: str) -> None:
        curves = [json.loads((self.folder / f"{one}.json").read_text()) for one in (name, "calm")]
        assert curves[0] == curves[1]
        assert adapter_digest(self.folder / name) == adapter_digest(self.folder / "calm")


def calm_training(
    base: Path,
    folder: Path,
    rows: list[dict[str, Any]],
    dev: list[dict[str, Any]],
    settings: Train,
    objective: str = "sft",
    adapter: Path | None = None,
) -> Children:
    """An undisturbed training of `STEPS` steps, with which the others are compared."""
    (folder / "rows").write_text(json.dumps(rows))
    (folder / "dev").write_text(json.dumps(dev))
    children = Children(folder, base, settings, objective, adapter)
    calm = children.start("calm")
    assert calm.communicate()[0].split() == [str(step) for step in range(1, STEPS + 1)]
    assert calm.returncode == 0
    return children


def killed_and_started_again(children: Children, kill_after: int) -> None:
    """SIGKILL after a step, and a checkpoint that it cut short; the same command ends the work."""
    name = f"killed-{kill_after}"
    killed = children.start(name, "0.2")
    _after(killed, kill_after)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (children.folder / name).exists()
    torn = children.folder / f"{name}-scratch" / f"checkpoint-{STEPS - 1}"
    torn.mkdir()
    (torn / "adapter_model.safetensors").write_bytes(b"half")
    again = children.start(name)
    first = kill_after // EVERY * EVERY + 1
    assert again.communicate()[0].split() == [str(step) for step in range(first, STEPS + 1)]
    children.equals_the_calm_one(name)


def preempted(children: Children, stops: tuple[int, ...]) -> None:
    """SIGTERM after each of these steps, and then none."""
    told, steps = [], []
    for stop_after in (*stops, None):
        child = children.start("preempted", "0.2" if stop_after else "0")
        if stop_after:
            _after(child, stop_after)
            child.terminate()
        *seen, last = child.communicate()[0].splitlines()
        assert child.returncode == (STOPPED if stop_after else 0)
        steps += [stop_after, *map(int, seen)] if stop_after else [*map(int, seen), int(last)]
        told.append(last)
    assert steps[0] == stops[0]
    assert sorted(set(steps)) == steps, "no step is done twice"
    for line, stop in zip(told, stops, strict=False):
        assert int(line.split("saved step ")[1].split(f" of {STEPS}. Run the same")[0]) >= stop
    children.equals_the_calm_one("preempted")


def _after(process: subprocess.Popen[str], step: int) -> None:
    assert process.stdout
    while next(process.stdout).strip() != str(step):
        pass
