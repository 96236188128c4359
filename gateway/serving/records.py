"""What is kept of a call: its row in the journal, and its metrics."""

from __future__ import annotations

import logging

from gateway.metrics import Metrics
from gateway.serving.calls import AnsweredBy, Call, Progress
from pipelines.stores.journal.writer import JournalWriter

log = logging.getLogger("nightshift.gateway")


class Recorder:
    """Records whole answers and failed attempts."""

    def __init__(self, journal: JournalWriter, metrics: Metrics) -> None:
        self._journal, self._metrics = journal, metrics

    def answered(self, call: Call, by: AnsweredBy, progress: Progress) -> None:
        """Record a whole answer."""
        flags = {"cached": by.cached, "fallback": by.fallback}
        row = progress.row(call, by.route, call.started, call.request_id, **flags)
        self._journal.add(row)
        labels, metrics = (row.adapter, row.route), self._metrics
        metrics.answers.labels(*labels).inc()
        metrics.latency.labels(*labels).observe(row.latency_ms / 1000)
        if row.first_token_ms is not None:
            metrics.first_token.labels(*labels).observe(row.first_token_ms / 1000)
        if by.fallback:
            metrics.fallbacks.labels(*labels).inc()
        if not by.cached:
            metrics.tokens_in.labels(*labels).inc(row.tokens_in)
            metrics.tokens_out.labels(*labels).inc(row.tokens_out)

    def failed(
        self, call: Call, progress: Progress, route: str, fault: str, suffix: str = "", words: str = ""
    ) -> None:
        """Record an attempt that failed. With a `suffix` it is a row beside the one of the call's answer.

        `words`: what the engine said; it goes into the log.
        """
        self._metrics.failures.labels(progress.backend.name, route, fault).inc()
        parent = call.request_id if suffix else None
        row = progress.row(call, route, call.started, call.request_id + suffix, fault=fault, parent=parent)
        self._journal.add(row)
        log.warning(
            "an attempt failed",
            extra={
                "request_id": call.request_id,
                "adapter": row.adapter,
                "route": route,
                "fault": fault,
                "words": call.for_log(words),
            },
        )
