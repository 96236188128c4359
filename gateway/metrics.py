"""The gateway's Prometheus metrics, most of them by adapter and route."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One set of metrics in a registry of its own, so that several gateways can run in one process."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU seconds, start time
        by = ("adapter", "route")
        name = "nightshift_gateway_{}".format
        self.latency = Histogram(
            name("latency_seconds"), "request to whole answer", by, buckets=SECONDS, registry=registry
        )
        self.first_token = Histogram(
            name("first_token_seconds"), "request to first token", by, buckets=SECONDS, registry=registry
        )
        self.tokens_in = Counter(name("tokens_in"), "prompt tokens", by, registry=registry)
        self.tokens_out = Counter(name("tokens_out"), "tokens answered", by, registry=registry)
        self.answers = Counter(name("answers"), "whole answers", by, registry=registry)
        self.failures = Counter(name("failures"), "attempts that failed", (*by, "fault"), registry=registry)
        self.fallbacks = Counter(name("fallbacks"), "answers by another adapter", by, registry=registry)
        self.refusals = Counter(
            name("refusals"), "requests that got no answer", ("status", "code"), registry=registry
        )
        self.queued = Gauge(name("queued"), "requests waiting for room", ("adapter",), registry=registry)
        self.in_flight = Gauge(name("in_flight"), "answers under way", ("adapter",), registry=registry)
        self.cache = Counter(name("cache"), "looks into the cache", ("result",), registry=registry)
        self.shadows = Counter(name("shadows"), "copies for the shadow", ("result",), registry=registry)
        self.feedback = Counter(name("feedback"), "feedback by answer", ("result",), registry=registry)
        self.promotion = Gauge(name("promotion"), "number of the route that is live", registry=registry)
        self.contact = Gauge(name("contact"), "1: the database was read lately", registry=registry)
        self.move_waits = Gauge(name("move_waits"), "1: a move waits for another gateway", registry=registry)
        self.others_gone = Gauge(name("others_gone"), "other gateways that do not live", registry=registry)
        self.others_left_rows = Gauge(
            name("others_left_rows"), "entries that they left in their spools", registry=registry
        )
        self.load_failures = Counter(name("load_failures"), "adapters not loaded", registry=registry)
        self.probe_failed = Gauge(
            name("probe_failed"), "1: the engine serves something else", ("adapter",), registry=registry
        )
        self.probed = Gauge(
            name("probed_timestamp_seconds"), "newest proof of an adapter", ("adapter",), registry=registry
        )
        self.worker_failures = Counter(
            name("worker_failures"), "turns of a worker that failed", ("worker",), registry=registry
        )
        for worker in ("live route", "heartbeat", "shadow", "unload", "probe", "redis"):
            self.worker_failures.labels(worker)  # 0 from the start, so that the first failure is an increase
        self.redis_away = Gauge(name("redis_away"), "1: this gateway counts for itself", registry=registry)
        self.redis_failures = Counter(
            name("redis_failures"), "counts and answers that Redis was not there for", registry=registry
        )
        self.engine_restarts = Gauge(
            name("engine_restarts"), "times the engine's loop failed", registry=registry
        )
        self.journal_waiting = Gauge(name("journal_waiting"), "rows not yet written", registry=registry)
        self.journal_lost = Gauge(name("journal_lost"), "rows that found the queue full", registry=registry)
        self.journal_set_aside = Gauge(
            name("journal_set_aside"), "rows and feedback that cannot be stored", registry=registry
        )
        self.spool_rows = Gauge(name("spool_rows"), "entries not yet in PostgreSQL", registry=registry)
        self.spool_age = Gauge(
            name("spool_age_seconds"),
            "how long the oldest entry has waited for PostgreSQL",
            registry=registry,
        )
        self.feedback_without_answer = Gauge(
            name("feedback_without_answer"), "feedback whose answer never arrived", registry=registry
        )

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
