"""One watch of live traffic: drift of questions and answers, feedback, errors, latency, features.

Questions are compared with the traffic that the live model learned from, as the night's step `drift` does.
Answers are compared with earlier ones of the same model, since another model answers differently by design.
A watch writes a report and a row of the ledger, and pushes metrics where a Pushgateway is set. It changes
nothing else: Prometheus' rules and the dispatch of alerts decide what follows.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

from pipelines.core.config import Config
from pipelines.core.contract import Verdict, canonical_json
from pipelines.core.results import StepResult
from pipelines.observability import metrics_push
from pipelines.operations.watch import loop_metrics, measures
from pipelines.operations.watch.compare import Comparison, compare
from pipelines.operations.watch.report import write_report
from pipelines.operations.watch.window import Window, read_window
from pipelines.policy.alerts.watch import WatchVerdict
from pipelines.stores import open_ledger
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.tables import WATCHES

STEP_VERDICTS = {
    WatchVerdict.QUIET: Verdict.PROCEED,
    WatchVerdict.ALARM: Verdict.HOLD,
    WatchVerdict.UNCLEAR: Verdict.SKIP,
}
log = logging.getLogger("nightshift")


def watch(config: Config, run_id: str = "", now: datetime | None = None) -> StepResult:
    """Watch once; a `run_id` is recorded once. Raises MachineError when the push fails, after all else."""
    started, end = time.monotonic(), now or datetime.now(UTC)
    ledger = open_ledger(config)
    production = ledger.promotion().route.production
    window = read_window(config, production, end - timedelta(hours=config.watch.window_h), end)
    comparison = compare(config, window)
    numbers = measures.measures_of(config, window, comparison)
    report = write_report(config, window, comparison, numbers, ledger)
    name = run_id or end.isoformat(timespec="seconds")
    ledger.append(WATCHES, _row(name, window, comparison, numbers, report))
    _push(config, ledger, window, comparison, numbers)
    finding = comparison.finding
    return StepResult(
        step="watch",
        verdict=STEP_VERDICTS[finding.verdict],
        reasons=finding.reasons,
        headline=f"{finding.verdict}: {window.totals.attempts} attempts in {config.watch.window_h:g} h",
        manifest_uri=report,
        seconds=time.monotonic() - started,
        reused=False,
    )


def _row(
    name: str, window: Window, comparison: Comparison, numbers: dict[str, float], report: str
) -> dict[str, str]:
    finding = comparison.finding
    return {
        "id": name,
        "at": datetime.now(UTC).isoformat(),
        "window_start": window.start.isoformat(),
        "window_end": window.end.isoformat(),
        "verdict": str(finding.verdict),
        "metrics": canonical_json({**numbers, "columns": finding.columns}).decode(),
        "reasons": canonical_json(finding.reasons).decode(),
        "report": report,
    }


def _push(
    config: Config, ledger: Ledger, window: Window, comparison: Comparison, numbers: dict[str, float]
) -> None:
    if not config.watch.pushgateway:
        log.info("watch: no metrics are pushed, because watch.pushgateway is not set")
        return
    samples = measures.samples_of(window, comparison, numbers)
    samples += loop_metrics.loop_samples(ledger, config, window.end)
    metrics_push.push(config.watch.pushgateway, samples, measures.HELP | loop_metrics.HELP)
