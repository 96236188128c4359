"""What `nightshift doctor` looks at. It reads the tokenizer and the suite, and no weights."""

from __future__ import annotations

from pipelines.core.config import Config
from pipelines.operations.doctor.databases import look_at_databases
from pipelines.operations.doctor.fairness import look_at_fairness
from pipelines.operations.doctor.finding import Finding, failed
from pipelines.operations.doctor.gateways import look_at_gateways
from pipelines.operations.doctor.keys import look_at_keys
from pipelines.operations.doctor.lengths import Lengths, measure
from pipelines.operations.doctor.machine import look_at_machine
from pipelines.operations.doctor.model import look_at_base, look_at_rendering
from pipelines.operations.doctor.object_stores import look_at_stores
from pipelines.operations.doctor.page import printed
from pipelines.operations.doctor.safety import look_at_safety_judge
from pipelines.operations.doctor.servers import look_at_evaluation_server, look_at_judge
from pipelines.operations.doctor.source import look_at_source
from pipelines.operations.doctor.suite import look_at_suite
from pipelines.operations.doctor.traffic import look_at_traffic

__all__ = ["Finding", "Lengths", "examine", "printed"]


def examine(config: Config) -> tuple[list[Finding], list[Lengths]]:
    """Every finding, and the lengths of what the model is asked. What cannot be looked at is left out."""
    findings = [Finding("ok", "profile", f"The profile {config.profile} can be read.")]
    findings += [*look_at_databases(config), *look_at_gateways(config)]
    findings += [*look_at_stores(config), *look_at_keys(config)]
    findings += [*look_at_evaluation_server(config), *look_at_judge(config), *look_at_safety_judge(config)]
    base, found = look_at_base(config)
    findings += [found, *look_at_machine(config, base), look_at_source(config)]
    findings.append(Finding("ok", "model's name", f"It is registered as {config.register_.name}."))
    if base is None:
        return findings, []
    rendering, about_rendering = look_at_rendering(config)
    findings += about_rendering
    if rendering is None:
        return findings, []
    traffic, about_traffic = look_at_traffic(config, rendering)
    findings += about_traffic
    items, about_suite = look_at_suite(config, rendering)
    findings += about_suite
    if failed(about_suite):
        return findings, traffic
    findings.append(look_at_fairness(config, items))
    lengths, about_lengths = measure(config, rendering, items)
    return [*findings, *about_lengths], [*lengths, *traffic]
