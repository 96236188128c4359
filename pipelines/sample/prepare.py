"""What the sample needs before its first night: the base model and the frozen suite."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from pipelines.core.config import Config
from pipelines.core.files import write_atomically
from pipelines.sample.packaged import convert_smollm2
from pipelines.sample.questions import plan, questions, suite_rows

log = logging.getLogger("nightshift")
_PACKAGED_MODEL = "smollm2-135m-instruct"


def prepare_model(config: Config) -> None:
    """Convert the packaged base model, if it is the configured one and not there yet."""
    base = Path(config.path(config.model.base))
    if base.name == _PACKAGED_MODEL:
        convert_smollm2(base)


def prepare_suite(config: Config) -> None:
    """Write the sample's frozen suite, if it is not there yet."""
    suite = Path(config.path(config.evaluate.suite))
    if not suite.exists():
        rows = suite_rows(plan(questions(config.task.labels), config.sample), config)
        write_atomically(suite, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
        log.info("sample: %d frozen questions in %s", len(rows), suite)
