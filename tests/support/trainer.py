"""A step for tests that starts in a moment: it needs the standard library only.

It works through epochs, each of which follows from the one before, so a step that goes on at the wrong place
has another result. It keeps a checkpoint after every second epoch, and one more when it is told to end. At a
point whose file `hold-POINT` exists it waits. `work.txt` has a line for each start, epoch and end. An epoch
takes EPOCH_S seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

EPOCHS = 4
TOLD_TO_END = 143


def write_program(folder: Path) -> Path:
    """A program `nightshift` that is this training, as in the image of the work plane."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nightshift").write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {__file__} "$@"\n')
    (folder / "nightshift").chmod(0o755)
    return folder


def main() -> int:
    options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[2:])
    training = Training(Path(os.environ["STANDIN_HOME"]) / Path(options["run-dir"]).name / sys.argv[1])
    signal.signal(signal.SIGTERM, training.end)
    training.say("start")
    manifest = Path(options["run-dir"]) / sys.argv[1] / "manifest.json"
    reused = manifest.exists()
    if not reused:
        write(manifest, training.work())
        training.say("end")
    write(Path(options["result"]), answer(sys.argv[1], manifest, reused))
    training.pass_by("result")
    return 0


class Training:
    """The state of one step. `folder` is shared by all its pods."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.epoch, self.state = 0, folder.name
        if (kept := folder / "checkpoint.json").exists():
            self.epoch, self.state = json.loads(kept.read_text())

    def say(self, what: str) -> None:
        with (self.folder / "work.txt").open("a") as file:
            file.write(f"{what}\n")

    def pass_by(self, point: str) -> None:
        """Wait for as long as the test wants it."""
        (self.folder / f"at-{point}").touch()
        while (self.folder / f"hold-{point}").exists():
            time.sleep(0.02)

    def work(self) -> dict[str, Any]:
        """Train to the end; the manifest."""
        while self.epoch < EPOCHS:
            self.pass_by(f"epoch-{self.epoch + 1}")
            time.sleep(float(os.environ.get("EPOCH_S", "0")))
            state = hashlib.sha256(f"{self.state}{self.epoch}".encode()).hexdigest()
            self.epoch, self.state = self.epoch + 1, state
            self.say(f"epoch {self.epoch}")
            if self.epoch % 2 == 0:
                self.keep()
        loss = int(self.state[:6], 16) / 2**24
        rows = {"adapter": self.state}
        return {"verdict": "proceed", "reasons": [], "metrics": {"loss": loss}, "outputs": rows}

    def keep(self) -> None:
        write(self.folder / "checkpoint.json", [self.epoch, self.state])

    def end(self, *_: object) -> None:
        """The cluster wants the pod gone."""
        self.keep()
        self.pass_by("told")
        os._exit(TOLD_TO_END)


def answer(step: str, manifest: Path, reused: bool) -> dict[str, Any]:
    head = {"step": step, "verdict": "proceed", "reasons": [], "headline": "trained"}
    return {**head, "manifest_uri": str(manifest), "seconds": 0.1, "reused": reused}


def write(path: Path, what: object) -> None:
    """At once and whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(what))
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
