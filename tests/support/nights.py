"""Run steps of a night in a scratch home, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.config import Config, load_config
from pipelines.core.contract import Manifest
from pipelines.runner import run_step
from pipelines.stores.runs import Run

DEMO = Path(__file__).parents[2] / "config" / "demo.toml"


@dataclass
class Night:
    """One night in `home`; `folder` is where its delivery lies."""

    home: Path
    date: date
    overrides: dict[str, Any]

    @property
    def folder(self) -> Path:
        path = self.home / "sample" / "interactions" / f"dt={self.date}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def config(self) -> Config:
        return load_config(
            DEMO, self.home, {"ingest.kind": "files", "ingest.source": f"{self.folder}/*"} | self.overrides
        )

    @property
    def uri(self) -> str:
        return f"{self.home}/runs/{self.date}"

    def deliver(self, rows: pa.Table, name: str = "part.parquet") -> None:
        pq.write_table(rows, self.folder / name)

    def run(self, *steps: str, rerun: bool = False) -> Manifest:
        """Run the steps in order; the last one's manifest."""
        for step in steps:
            run_step(step, self.uri, self.config, rerun=rerun)
        found = Run(self.uri).manifest(steps[-1])
        assert found is not None
        return found

    def output(self, step: str, name: str) -> Path:
        manifest = Run(self.uri).manifest(step)
        assert manifest is not None
        return Run(self.uri).artifact(manifest, name)

    def rows(self, step: str, name: str) -> list[dict[str, Any]]:
        return pq.read_table(self.output(step, name)).to_pylist()
