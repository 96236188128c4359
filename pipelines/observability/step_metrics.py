"""Time, memory and verdict of each step of the newest decided night, as gauges at the Pushgateway."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from pipelines.core.contract import Manifest
from pipelines.core.errors import MachineError
from pipelines.observability.metrics_push import Sample, push

JOB = "nightshift_night"
HELP = {
    "nightshift_step_seconds": "how long a step of the newest decided night took",
    "nightshift_step_cpu_seconds": "CPU seconds that it used",
    "nightshift_step_gpu_seconds": "GPU seconds that it used",
    "nightshift_step_peak_memory_bytes": "the most memory that its process held",
    "nightshift_step_verdict": "1: the step gave the label's verdict",
    "nightshift_night_outcome": "1: the night ended in the label's outcome",
    "nightshift_night_start_timestamp_seconds": "when the night's first step began",
}
log = logging.getLogger("nightshift")


def push_steps(url: str, outcome: str, manifests: Mapping[str, Manifest]) -> None:
    """Replace the gauges of the night before. A Pushgateway that does not answer is only logged."""
    try:
        push(url, _samples(outcome, manifests), HELP, JOB)
    except MachineError as error:
        log.warning("the steps' metrics were not pushed: %s", error)


def _samples(outcome: str, manifests: Mapping[str, Manifest]) -> Iterator[Sample]:
    started = min(manifest.usage.started_at for manifest in manifests.values())
    yield Sample("nightshift_night_start_timestamp_seconds", started.timestamp())
    yield Sample("nightshift_night_outcome", 1.0, {"outcome": outcome})
    for step, manifest in manifests.items():
        usage, labels = manifest.usage, {"step": step}
        yield Sample("nightshift_step_seconds", usage.seconds, labels)
        yield Sample("nightshift_step_cpu_seconds", usage.cpu_seconds, labels)
        yield Sample("nightshift_step_gpu_seconds", usage.gpu_seconds, labels)
        yield Sample("nightshift_step_peak_memory_bytes", usage.peak_memory_mib * 2**20, labels)
        yield Sample("nightshift_step_verdict", 1.0, {**labels, "verdict": manifest.verdict})
