"""Copies of a training's checkpoints, and of its attempts' notes, where another machine finds them.

A pod's home goes with the pod.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from pathlib import Path

from pipelines.core.config import Config
from pipelines.models.checkpoints import COMPLETE
from pipelines.models.interruptions import NOTES
from pipelines.stores import open_shared
from pipelines.stores.retention import CHECKPOINTS

STATE = "trainer_state.json"
NOTES_EVERY_S = 10.0
log = logging.getLogger("nightshift")


class CheckpointCopies:
    """The copies of the checkpoints in `scratch`. Where nothing is shared, there are none."""

    def __init__(self, config: Config, run_id: str, scratch: Path) -> None:
        self._scratch = scratch
        self._place = f"{CHECKPOINTS}/{run_id}/{scratch.name}"
        self._folder = None if "{home}" in config.shared_root else open_shared(config)
        self._kept: set[str] = set()
        self._noted_at = -math.inf

    def fetch(self) -> None:
        """Bring what another machine kept, where this one has nothing."""
        if self._folder is None or any(self._scratch.glob(f"*/{COMPLETE}")):
            return
        files = self._folder.files(self._place)
        inside = {path: path.removeprefix(f"{self._place}/") for path in files}
        notes = {path: self._scratch / name for path, name in inside.items() if Path(name).match(NOTES)}
        if notes:
            self._folder.download(notes)
        whole = {name.split("/")[0] for name in inside.values() if name.endswith(f"/{COMPLETE}")}
        wanted = {path: name for path, name in inside.items() if name.split("/")[0] in whole}
        if not wanted:
            return
        # Marks come last: a copy that a kill cut short is no checkpoint.
        for marks in (False, True):
            part = {path: name for path, name in wanted.items() if name.endswith(COMPLETE) is marks}
            self._folder.download({path: self._scratch / name for path, name in part.items()})
            self._move_in()
        self._kept = whole
        log.info("train takes over %s from another machine", ", ".join(sorted(whole)))

    def _move_in(self) -> None:
        """A checkpoint names the best one by its whole path."""
        for file in self._scratch.glob(f"*/{STATE}"):
            state = json.loads(file.read_text(encoding="utf-8"))
            if best := state.get("best_model_checkpoint"):
                state["best_model_checkpoint"] = str(self._scratch / Path(best).name)
                file.write_text(json.dumps(state, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def keep(self, at_once: bool = False) -> None:
        """Copy the checkpoints that are new, and remove copies of those that are gone.

        Notes are copied every few seconds, or `at_once`.
        """
        if self._folder is None:
            return
        here = {path.parent.name for path in self._scratch.glob(f"*/{COMPLETE}")}
        for name in sorted(here - self._kept):
            self._upload(name)
        for name in self._kept - here:
            self._folder.remove(f"{self._place}/{name}/{COMPLETE}")
            self._folder.remove(f"{self._place}/{name}")
        if at_once or here != self._kept or time.monotonic() - self._noted_at > NOTES_EVERY_S:
            self._upload_notes()
        self._kept = here

    def forget(self, note: str) -> None:
        """Remove the copy of a note whose attempt has ended well."""
        if self._folder is not None:
            self._folder.remove(f"{self._place}/{note}")

    def _upload_notes(self) -> None:
        assert self._folder is not None
        for file in self._scratch.glob(NOTES):
            self._folder.write_bytes(f"{self._place}/{file.name}", file.read_bytes())
        self._noted_at = time.monotonic()

    def _upload(self, name: str) -> None:
        """The mark last."""
        assert self._folder is not None
        for file in sorted((self._scratch / name).rglob("*"), key=lambda path: path.name == COMPLETE):
            if file.is_file():
                copy = file.with_name(f".{file.name}.copy")
                shutil.copyfile(file, copy)
                self._folder.put_file(copy, f"{self._place}/{file.relative_to(self._scratch).as_posix()}")
