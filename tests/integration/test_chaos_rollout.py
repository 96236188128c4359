"""A rollout on PostgreSQL, S3 and Redis while one part after the other is away, and users ask all the time.

`make chaos` runs it, and prints a table. What is decided must be what one machine decides undisturbed.
"""

import time
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import pytest

from gateway.serving.adapter_files import AdapterFiles
from pipelines.operations.verify import verify
from tests.integration.test_cluster_rollout import configs, has_all  # noqa: F401  # a fixture
from tests.support.chaos import OUTAGE_S, Member, away, small_disk
from tests.support.cluster import free_port
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import gateway, until
from tests.support.journal import rows_at
from tests.support.rollout_story import Story, route_of
from tests.support.users import Users

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1800)]
# Which parts go away, one after the other, while half of a stage's users ask.
PLAN = {
    "shadow": ("PostgreSQL",),
    "canary_25": ("S3", "gateway a killed"),
    "canary_50": ("Redis", "disk of b full"),
}
SHARED = ("ledger_url", "journal_url", "keys")


@pytest.fixture
def calm(configs):  # noqa: F811
    """What one machine decides."""
    (config,) = configs["one"]
    with gateway(config, DoubleEngine(), AdapterFiles(config).fetch) as running:
        users = Users([running])
        users.arrived = partial(until, partial(has_all, config, users), 60)
        story = Story(config, users)
        story.run()
    return story


@pytest.fixture
def members(configs):  # noqa: F811
    """The cluster's gateways as processes; b has a small disk where this process may mount one."""
    with ExitStack() as stack:
        found = []
        for config in configs["many"]:
            if config.home.endswith("/b"):
                stack.enter_context(small_disk(Path(config.home, "gateway")))
            top = {name: getattr(config, name) for name in SHARED}
            settings = {"port": free_port(), "contact_s": 3.0, "heartbeat_s": 0.5, "poll_s": 0.1}
            settings["redis_url"] = config.gateway.redis_url
            found.append(Member(Path(config.home), settings | top))
            found[-1].start()
            stack.callback(found[-1].kill)
        yield found


def unordered(numbers):
    """The numbers without the evidence of ratings: it follows their order, and rows arrive late here."""
    return [
        {name: value for name, value in one.items() if name != "log_evidence_not_worse"} for one in numbers
    ]


def test_faults_during_a_rollout_change_no_decision(
    calm,
    configs,  # noqa: F811
    members,
    postgres,
    object_store_server,
    redis_server,
    capsys,
):
    config, table = configs["many"][0], []
    a, b = members
    parts = {"PostgreSQL": postgres, "S3": object_store_server.server, "Redis": redis_server}
    parts |= {"gateway a killed": a, "disk of b full": b.home / "gateway"}
    users = Users([a.running, b.running])
    users.arrived = partial(until, partial(has_all, config, users), 120)

    @contextmanager
    def trouble(part):
        first, began = users.sent, time.monotonic()
        users.waits, users.pause_s = False, OUTAGE_S / 40  # what they ask arrives when the part is back
        with away(part, parts):
            yield
        users.waits, users.pause_s = True, 0.0
        table.append((part, time.monotonic() - began, first, users.sent))

    story = Story(
        config, users, lambda stage: [trouble(part) for part in PLAN.get(stage, ())] or [nullcontext()]
    )
    story.run()
    assert story.said == calm.said
    assert unordered(story.numbers) == unordered(calm.numbers)
    assert route_of(users.answers) == route_of(calm.users.answers)
    assert story.moves() == calm.moves()
    assert verify(config) == 0
    kept = [row["request_id"] for row in rows_at(config.journal_url) if row["route"] != "shadow"]
    assert sorted(kept) == sorted(request_id for request_id, _ in users.answers)
    with capsys.disabled():
        print(f"\n{'away':<18}{'s':>4}{'sent':>7}{'answered':>9}{'kept':>7}{'twice':>6}")
        for part, away_s, first, last in table:
            ids = {request_id for request_id, _ in users.answers[first:last]}
            rows = [request_id for request_id in kept if request_id in ids]
            numbers = f"{last - first:>7}{len(ids):>9}{len(rows):>7}{len(rows) - len(set(rows)):>6}"
            print(f"{part:<18}{away_s:>4.0f}{numbers}")
