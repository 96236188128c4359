"""Circuit breakers: an adapter that fails gets no requests for a while. One tenant opens none for others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from purgatory import AsyncCircuitBreakerFactory

from pipelines.core.config import Gateway


class Circuits:
    """For each adapter one circuit of everybody, and one for each tenant.

    A tenant's own circuit counts all of its failures. The one of everybody counts at most half of
    `breaker_failures` from the same tenant, as its requests may be the reason. Any success ends the count.
    """

    def __init__(self, settings: Gateway, neutral: tuple[type[BaseException], ...]) -> None:
        self._neutral = neutral
        self._most_of_one = settings.breaker_failures // 2
        self._breakers = AsyncCircuitBreakerFactory(settings.breaker_failures, settings.breaker_reset_s)
        self._failures: defaultdict[str, Counter[str]] = defaultdict(
            Counter
        )  # in a row, by digest and tenant

    @asynccontextmanager
    async def watch(self, digest: str, tenant: str) -> AsyncIterator[None]:
        """Raises OpenedState while the adapter fails. What is neutral leaves the circuits as they are."""
        own = await self._breakers.get_breaker(f"{digest} {tenant}")
        all_ = await self._breakers.get_breaker(digest)
        for circuit in (all_, own):
            await circuit.__aenter__()
        try:
            yield
        except self._neutral:
            raise
        except BaseException as error:
            failed = self._failures[digest]
            failed[tenant] += 1
            for circuit in (own, all_) if failed[tenant] <= self._most_of_one else (own,):
                await circuit.__aexit__(type(error), error, error.__traceback__)
            raise
        self._failures.pop(digest, None)
        for circuit in (own, all_):
            await circuit.__aexit__(None, None, None)
