"""Each copy of a request for the shadow is accounted for: offered = answered + failed + dropped."""

import random
import signal
import threading

import pytest

from pipelines.core.traffic_split import Route
from pipelines.operations.databases import JOURNAL, upgrade
from pipelines.policy.rollout.observations import Copies
from pipelines.stores import open_journal
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import ONE, chat, gateway, gateway_config, process, until
from tests.support.journal import has_arrived, rows_at


class Moody(DoubleEngine):
    """The shadow fails at times, is slow at times, and refuses at times."""

    async def _answer(self, request, who):
        if who == "1":
            self.faults["1"] = random.choice(["", "", "error", "refuse", "late"])
            self.delays["1"] = random.random() / 30
        async for piece in super()._answer(request, who):
            yield piece


@pytest.fixture(params=["sqlite", "postgresql"])
def config(home, request):
    found = gateway_config(home, shadow_queue=5, attempt_timeout_s=0.5)
    if request.param == "sqlite":
        return found
    url = request.getfixturevalue("database")
    upgrade(JOURNAL, url)
    return found.model_copy(update={"journal_url": url})


def copies(config, *promotions):
    return Copies(**open_journal(config).shadow_copies(promotions or (1,)))


def ask_all(running, count, first=0):
    def ask(number):
        with running.client() as client:
            for turn in range(count // 4):
                client.post("/v1/chat/completions", json=chat(f"{number} {first + turn}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_the_sum_holds_after_moods_and_a_stop(config):
    with gateway(config, Moody()) as running:
        running.promote(Route(shadow=ONE))

        def copies_that(fate):
            return running.metric(f'shadows_total{{result="{fate}"}}')

        asked = 0
        while asked < 100 or not all(map(copies_that, ("answered", "failed", "dropped"))):
            ask_all(running, 20, asked)
            asked += 20
        assert copies_that("offered") == asked
    found = copies(config)
    assert found.offered == asked == found.answered + found.failed + found.dropped
    assert min(found.answered, found.failed, found.dropped) > 0
    rows = [row for row in rows_at(config.path(config.journal_url)) if row["route"] == "shadow"]
    assert len(rows) == found.answered + found.failed
    assert sum(row["error"] for row in rows) == found.failed


@pytest.mark.slow
def test_copies_under_way_at_a_kill_are_dropped(config, home):
    settings = {"shadow_queue": 20, "delays": {"1": 0.3}, "journal_url": config.journal_url}
    with process(home, **settings) as (started, running):
        running.promote(Route(shadow=ONE))
        ask_all(running, 12)
        until(lambda: copies(config).answered > 1)
        before = copies(config)
        started.send_signal(signal.SIGKILL)
        started.wait(10)
    assert before.offered == 12 > before.answered
    with gateway(config, DoubleEngine()) as running:
        has_arrived(running.app.state.service.journal)
        after = copies(config)
    assert after.offered == 12 == after.answered + after.dropped
    assert after.dropped > 0
