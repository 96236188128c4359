"""Proves that the engine serves the adapters that were registered: before users meet one, and then each hour.

The probes of a version are prompts with what the adapter and its base answer to them. Digests show that files
are whole; only answers show what a server makes of them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import aclosing

from gateway.engines.base import CompletionRequest, EngineError, RequestRefused, ServingEngine
from gateway.serving.backends import Backends
from pipelines.core.config import Serving
from pipelines.core.errors import NightshiftError
from pipelines.core.probes import TOP, Answer, Probe, ProbeSet
from pipelines.core.traffic_split import Adapter
from pipelines.policy.probes import Finding, Served, compare, compare_texts

RETRY_S = 60.0  # where the last look found something wrong, or nothing
POLL_S = 1.0
REMEDY = "Look at what the server loads under this name, at its base model and at its chat template."
log = logging.getLogger("nightshift.gateway")
_WORDS = {
    Served.BASE: "the engine answers as the base model under the name of version {}: {}",
    Served.OTHER: "the engine answers neither as version {} nor as its base model: {}",
    Served.UNKNOWN: "nothing shows whether the engine serves version {}: {}",
}


class NotServed(NightshiftError):
    """The engine does not serve the adapter that was registered, or nothing shows that it does."""


class Probes:
    """What is known of each adapter.

    `probes_of` reads a version's probes and may block. None: nothing is proved.
    """

    def __init__(
        self, backends: Backends, settings: Serving, probes_of: Callable[[Adapter], ProbeSet | None] | None
    ) -> None:
        self._backends, self._settings, self._probes_of = backends, settings, probes_of
        self._due: dict[Adapter, float] = {}  # of the adapters that are watched
        self._sets: dict[Adapter, ProbeSet | None] = {}  # None: registered without probes
        self._wrong: dict[Adapter, str] = {}
        self._reloads = backends.engine.reloads

    @property
    def problem(self) -> str:
        """Which of the watched adapters the engine does not serve; they give no answers. "" if none."""
        return "; ".join(words for adapter, words in self._wrong.items() if adapter in self._due)

    @property
    def note(self) -> str:
        """Which adapters cannot be proved, as an older Nightshift registered them. They are served."""
        versions = ", ".join(sorted(adapter.version for adapter in self._due if not self._sets.get(adapter)))
        if self._probes_of is None:
            return ""
        return f"nothing proves that version {versions} is served: it has no probes" if versions else ""

    async def require(self, adapter: Adapter) -> None:
        """Raises NotServed unless the engine serves the adapter.

        One that is watched was looked at before. Else also raises what the engine or the registry does.
        """
        if adapter not in self._due:
            finding = await self._look(adapter)
            if finding and finding.served is Served.UNKNOWN:
                raise NotServed(f"{_words(adapter, finding)}.", REMEDY)
        if words := self._wrong.get(adapter):
            raise NotServed(f"{words}.", REMEDY)

    def watch(self, adapters: Iterable[Adapter]) -> None:
        """Look at these adapters from now on, and forget all others."""
        now, wanted = time.monotonic(), set(adapters)
        for adapter in {*self._due, *self._sets} - wanted:
            self._forget(adapter)
        proved = dict.fromkeys(self._sets, now + self._settings.probe_interval_s)
        self._due = {one: self._due.get(one, proved.get(one, now)) for one in wanted}

    async def turn(self) -> None:
        """Look at the adapters that are due."""
        await asyncio.sleep(min(POLL_S, self._settings.probe_interval_s))
        if self._reloads != self._backends.engine.reloads:  # the server behind the engine has started again
            self._reloads = self._backends.engine.reloads
            self._due = dict.fromkeys(self._due, 0.0)
        for adapter in [one for one, due in self._due.items() if due <= time.monotonic()]:
            self._due[adapter] = time.monotonic() + min(RETRY_S, self._settings.probe_interval_s)
            try:
                finding = await self._look(adapter)
            except (NightshiftError, RequestRefused) as error:
                finding = Finding(Served.UNKNOWN, f"{type(error).__name__} {error}".strip())
            if finding is None or finding.served is Served.ADAPTER:
                self._due[adapter] = time.monotonic() + self._settings.probe_interval_s
            elif finding.served is Served.UNKNOWN:  # the last finding stands; the metric's age shows it
                log.warning(_words(adapter, finding))

    async def _look(self, adapter: Adapter) -> Finding | None:
        """What the engine serves under the adapter's name; None where nothing can tell."""
        if self._probes_of is None:
            return None
        if adapter not in self._sets:
            self._sets[adapter] = await asyncio.to_thread(self._probes_of, adapter)
        probes = self._sets[adapter]
        if probes is None:
            return None
        seen = [await self._answer(adapter, probe, probes.tokens) for probe in probes.probes]
        finding = (
            compare(probes.probes, seen, self._settings.probe_tolerance)
            if self._settings.probe_by == "logprobs"
            else compare_texts(probes.probes, seen)
        )
        if finding.served is not Served.UNKNOWN:
            self._note(adapter, "" if finding.served is Served.ADAPTER else _words(adapter, finding))
        return finding

    async def _answer(self, adapter: Adapter, probe: Probe, tokens: int) -> Answer:
        """Asked as a user's request is, and not in the background: a busy engine must be proved too.

        It goes past the adapter's places, circuits, quotas and the journal.
        """
        wanted = TOP if self._settings.probe_by == "logprobs" else 0
        request = CompletionRequest(
            probe.messages, max_tokens=tokens, logprobs=wanted > 0, top_logprobs=wanted
        )
        engine: ServingEngine = self._backends.engine
        limit_s = self._backends.settings.attempt_timeout_s
        try:
            async with asyncio.timeout(limit_s), aclosing(engine.complete(request, adapter)) as answer:
                pieces = [piece async for piece in answer]
        except TimeoutError as error:
            problem = f"The engine did not answer a probe within {limit_s:g} s (gateway.attempt_timeout_s)."
            raise EngineError(problem, "Look at the engine's log and load.") from error
        if not pieces:
            raise EngineError("The engine's answer to a probe has no end.", "Look at the engine's log.")
        return Answer(
            text="".join(piece.text for piece in pieces).strip(),
            steps=tuple(token.step for token in pieces[-1].tokens),
        )

    def _note(self, adapter: Adapter, wrong: str) -> None:
        """Keep what a look found; "" is nothing wrong."""
        metrics, before = self._backends.metrics, self._wrong.pop(adapter, "")
        if wrong:
            self._wrong[adapter] = wrong
        else:
            metrics.probed.labels(adapter.version).set_to_current_time()
        if bool(wrong) != bool(before):
            log.error(wrong) if wrong else log.info("the engine serves version %s again", adapter.version)
        self._backends.of(adapter).wrong = wrong
        metrics.probe_failed.labels(adapter.version).set(bool(wrong))

    def _forget(self, adapter: Adapter) -> None:
        self._wrong.pop(adapter, None)
        self._sets.pop(adapter, None)
        self._backends.of(adapter).wrong = ""
        self._backends.metrics.probe_failed.labels(adapter.version).set(0)
        self._backends.metrics.probed.labels(adapter.version).set(math.nan)  # no age that an alert could see


def _words(adapter: Adapter, finding: Finding) -> str:
    return _WORDS[finding.served].format(adapter.version, finding.words)
