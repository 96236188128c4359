"""Rules, routes and dashboards: checked by the real tools, and asked of a real Prometheus."""

from __future__ import annotations

import json
import math
import re
import time

import pytest

from gateway.metrics import Metrics
from pipelines.core.alerts import Cause
from pipelines.observability import step_metrics
from pipelines.operations import feature_sync
from pipelines.operations.watch import loop_metrics, measures
from tests.support.gateways import until
from tests.support.servers import DEPLOY, PROJECT, prometheus, query, read_yaml, tool

HELP = measures.HELP | loop_metrics.HELP | step_metrics.HELP | feature_sync.HELP
RULES = DEPLOY / "prometheus"
TESTS = ("alerts_test.yml", "alerts_slow_test.yml")
PANELS = [
    (path.stem, panel["title"], target["expr"])
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
    for panel in json.loads(path.read_text())["panels"]
    for target in panel.get("targets", [])
]


def alerts():
    groups = read_yaml(RULES / "alerts.yml")["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@pytest.mark.slow
def test_the_rules_pass_their_unit_tests():
    assert "SUCCESS" in tool("promtool", "test", "rules", *(RULES / name for name in TESTS))


def test_each_alert_is_tested_firing_and_quiet():
    firing, quiet = set(), set()
    for name in TESTS:
        for case in read_yaml(RULES / name)["tests"]:
            for looked in case["alert_rule_test"]:
                (firing if looked["exp_alerts"] else quiet).add(looked["alertname"])
    assert firing == quiet == set(alerts())


def test_the_shipped_configurations_are_valid():
    tool("promtool", "check", "config", RULES / "prometheus.yml")
    tool("amtool", "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")


@pytest.mark.parametrize(
    ("alert", "to"), [("InputDrift", "nightshift"), ("WatchmenDown", "people,nightshift")]
)
def test_alertmanager_routes(alert, to):
    config = f"--config.file={DEPLOY / 'alertmanager' / 'alertmanager.yml'}"
    found = tool("amtool", "config", "routes", "test", config, f"alertname={alert}", "cause=drift")
    assert to in found.splitlines()


def test_each_alert_has_a_cause_and_a_runbook():
    runbooks = (PROJECT / "docs" / "runbooks.md").read_text()
    anchors = {f"docs/runbooks.md#{title.lower()}" for title in re.findall(r"^## (\w+)$", runbooks, re.M)}
    for name, rule in alerts().items():
        assert rule["labels"]["cause"] in set(Cause), name
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, name
        assert rule["annotations"]["summary"].endswith("."), name
        assert rule["annotations"]["runbook"] in anchors, name
    assert len(anchors) == len(alerts())


def test_rules_and_dashboards_name_only_metrics_that_exist():
    known = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    families = {family.name for family in Metrics().registry.collect()}
    known |= {f"{name}{end}" for name in families for end in ("", "_total", "_bucket")} | set(HELP)
    expressions = [expression for _, _, expression in PANELS] + [
        rule["expr"]
        for name in ("recording.yml", "alerts.yml")
        for group in read_yaml(RULES / name)["groups"]
        for rule in group["rules"]
    ]
    unquoted = " ".join(re.sub(r'"[^"]*"', "", expression) for expression in expressions)
    assert set(re.findall(r"\b(?:nightshift|process)_[a-z0-9_]+", unquoted)) <= known


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A Prometheus whose last quarter of an hour was filled by the gateway's own metrics and a watch's."""
    folder = tmp_path_factory.mktemp("prometheus")
    file = folder / "history.txt"
    file.write_text(history(now=time.time() - 1))
    tool("promtool", "tsdb", "create-blocks-from", "openmetrics", file, folder / "data")
    with prometheus(folder, {}) as url:
        until(lambda: query(url, "nightshift:latency_seconds:p99_5m"), 30)
        until(lambda: query(url, 'ALERTS{alertstate="firing", alertname="InputDrift"}'), 30)
        yield url


@pytest.mark.parametrize(
    ("dashboard", "panel", "expression"), PANELS, ids=[f"{d}: {p}" for d, p, _ in PANELS]
)
def test_a_panels_query_has_data(filled, dashboard, panel, expression):
    found = query(filled, expression)
    assert found
    assert any(math.isfinite(float(series["value"][1])) for series in found)


def history(now: float, seconds: int = 900, step: int = 15) -> str:
    """OpenMetrics text: a gateway's metrics that move, beside those of a watch and of the exporters."""
    metrics, lines = Metrics(), dict[str, list[str]]()
    for number in range(seconds // step + 1):
        at = now - seconds + number * step
        traffic(metrics, number)
        samples = [
            (sample.name, {"job": "nightshift_gateway", **sample.labels}, sample.value)
            for family in metrics.registry.collect()
            for sample in family.samples
            if not sample.name.endswith("_created")
        ]
        for name, labels, value in [*samples, *others(at, number)]:
            shown = ",".join(f'{key}="{text}"' for key, text in labels.items())
            lines.setdefault(name, []).append(f"{name}{{{shown}}} {value} {at:.3f}")
    return "\n".join(line for name in sorted(lines) for line in lines[name]) + "\n# EOF\n"


def traffic(metrics: Metrics, number: int) -> None:
    by = ("3", "production")
    for wait in (0.02, 0.2, 1.5):
        metrics.answers.labels(*by).inc()
        metrics.latency.labels(*by).observe(wait)
        metrics.first_token.labels(*by).observe(wait / 2)
    metrics.tokens_in.labels(*by).inc(90)
    metrics.tokens_out.labels(*by).inc(9)
    metrics.failures.labels(*by, "engine").inc()
    metrics.fallbacks.labels(*by).inc()
    metrics.refusals.labels("429", "queue_full").inc()
    metrics.queued.labels("3").set(number % 4)
    metrics.in_flight.labels("3").set(2)
    metrics.cache.labels("hit").inc()
    metrics.shadows.labels("answered").inc()
    metrics.feedback.labels("stored").inc()
    metrics.promotion.set(4)


def others(at: float, number: int) -> list[tuple[str, dict[str, str], float]]:
    about, dag = {"about": "input"}, {"dag_id": "nightly_retrain"}
    labels = {
        "nightshift_watch_alarm": about,
        "nightshift_watch_conclusive": about,
        "nightshift_watch_p_value": {**about, "column": "prompt_length"},
        "nightshift_watch_effect_ratio": {**about, "column": "prompt_length"},
        "nightshift_watch_compared_rows": {**about, "side": "window"},
        "nightshift_step_seconds": {"step": "train"},
        "nightshift_step_peak_memory_bytes": {"step": "train"},
        "nightshift_cost_30d": {"currency": "EUR"},
        "nightshift_nights_30d": {"outcome": "trained"},
        "nightshift_dag_open_seconds": dag,
        "nightshift_dag_run_seconds": dag,
        "nightshift_dag_last_end_timestamp_seconds": {**dag, "state": "success"},
    }
    watched = [
        (name, labels.get(name, {}), at if name.endswith("_timestamp_seconds") else 1.0) for name in HELP
    ]
    sent = {"integration": "webhook"}
    machine = [
        ("up", {"job": "nightshift_gateway"}, 1.0),
        ("node_memory_MemAvailable_bytes", {}, 6e9),
        ("node_memory_MemTotal_bytes", {}, 8e9),
        ("DCGM_FI_DEV_GPU_UTIL", {"gpu": "0"}, 40.0),
        ("DCGM_FI_DEV_FB_USED", {"gpu": "0"}, 10.0),
        ("DCGM_FI_DEV_FB_FREE", {"gpu": "0"}, 30.0),
        ("alertmanager_notifications_total", sent, float(number)),
        ("alertmanager_notifications_failed_total", sent, 0.0),
    ]
    return watched + machine
