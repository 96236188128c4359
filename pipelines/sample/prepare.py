"""What the sample needs before its first night: the base model and the frozen suite."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipelines.core.config import Config
from pipelines.evaluation.suite_place import suite_exists, write_suite
from pipelines.sample.packaged import convert_smollm2
from pipelines.sample.questions import Plan, pool_rows, sample_plan, suite_rows
from pipelines.stores.object_store import file_system

log = logging.getLogger("nightshift")
_PACKAGED_MODEL = "smollm2-135m-instruct"
_WRITTEN_LAST = "config.json"  # tells that the whole model is there


def prepare_model(config: Config) -> None:
    """Convert the packaged base model, if it is the configured one and not there yet."""
    base = config.path(config.model.base).rstrip("/")
    if not base.endswith(f"/{_PACKAGED_MODEL}"):
        return
    if "://" in base:
        _store_model(base)
    else:
        convert_smollm2(Path(base))


def _store_model(uri: str) -> None:
    """Convert the packaged base model and store it behind a URI, its configuration last."""
    fs, root = file_system(uri)
    if fs.exists(f"{root}/{_WRITTEN_LAST}"):
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / _PACKAGED_MODEL
        convert_smollm2(folder)
        for file in sorted(folder.iterdir(), key=lambda file: file.name == _WRITTEN_LAST):
            fs.put_file(str(file), f"{root}/{file.name}")
    log.info("sample: the base model is in %s", uri)


def prepare_suite(config: Config) -> None:
    """Write the sample's suite, and its pool if the profile names one, where they are not there yet."""
    _write(config, config.evaluate.suite, suite_rows)
    if config.evaluate.pool:
        _write(config, config.evaluate.pool, pool_rows)


def _write(config: Config, setting: str, rows_of: Callable[[Plan, Config], list[dict[str, object]]]) -> None:
    place = config.path(setting)
    if not suite_exists(place):
        rows = rows_of(sample_plan(config), config)
        write_suite(place, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
        log.info("sample: %d frozen questions in %s", len(rows), place)
