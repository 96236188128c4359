"""Numbers for a Prometheus Pushgateway: a command ends within seconds, so Prometheus cannot scrape it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from pipelines.core.errors import MachineError

JOB = "nightshift_watch"
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Sample:
    """A gauge's value. The unit is in the name."""

    name: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)


def push(url: str, samples: Iterable[Sample], help_texts: dict[str, str], job: str = JOB) -> None:
    """Replace all that the job pushed before. Raises MachineError where no Pushgateway answers."""
    registry, gauges = CollectorRegistry(), dict[str, Gauge]()
    for sample in samples:
        if sample.name not in gauges:
            text = help_texts[sample.name]
            gauges[sample.name] = Gauge(sample.name, text, sorted(sample.labels), registry=registry)
        gauge = gauges[sample.name]
        (gauge.labels(**sample.labels) if sample.labels else gauge).set(sample.value)
    try:
        push_to_gateway(url, job, registry, timeout=TIMEOUT_S)
    except OSError as error:
        raise MachineError(
            f"No Pushgateway answers at {url} ({type(error).__name__}: {error}).",
            "Start it, correct watch.pushgateway, or set it to an empty text.",
        ) from error
