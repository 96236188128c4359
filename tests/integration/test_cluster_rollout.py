"""The same rollout on one machine, and on PostgreSQL, S3 and Redis with two gateways: the same verdicts."""

import secrets
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.serving.adapter_files import AdapterFiles
from pipelines.core.results import RolloutAnswer
from pipelines.operations.verify import verify
from pipelines.stores import open_journal, open_ledger
from pipelines.stores.sql import database as databases
from tests.support.double_engine import DoubleEngine
from tests.support.fleets import member_config
from tests.support.gateways import gateway, gateway_config, until
from tests.support.journal import rows_at
from tests.support.rollout_story import STAGES, Story, route_of
from tests.support.users import Users

pytestmark = pytest.mark.slow
USUAL = {"promote.stages": STAGES, "promote.answers_per_person": 0}


def with_base(config):
    """The configuration with a base model's folder, the same for all."""
    base = Path(config.home).parent / "base"
    base.mkdir(exist_ok=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (base / name).write_text("{}")
    model = config.model.model_copy(update={"base": str(base)})
    return config.model_copy(update={"model": model, "keys": str(base.parent / "keys")})


@pytest.fixture
def configs(tmp_path, database, postgres, bucket, redis_server):
    """One machine, and the two gateways of a cluster."""
    one = with_base(gateway_config(tmp_path / "one", **USUAL))
    tracking = postgres.create(f"mlflow_{secrets.token_hex(4)}")
    redis = {"redis_url": f"redis://127.0.0.1:{redis_server.port}/2"}
    shared = {"tracking_uri": tracking}
    shared |= {f"{root}_root": f"{bucket}/{root}" for root in ("runs", "lake", "shared", "artifact")}
    many = [with_base(member_config(tmp_path, name, database, **USUAL, **redis)) for name in ("a", "b")]
    return {"one": [one], "many": [config.model_copy(update=shared) for config in many]}


def has_all(config, users):
    """Every answer, its rating and its shadow copy are in the journal."""
    ids = {request_id for request_id, _ in users.answers}
    rows = rows_at(config.path(config.journal_url))
    number = open_ledger(config).promotion().number
    copies = open_journal(config).shadow_copies([number])
    under_way = copies["offered"] - copies["answered"] - copies["failed"] - copies["dropped"]
    return ids <= {row["request_id"] for row in rows if row["rating"]} and not under_way


@pytest.fixture
def stories(configs):
    """The story, told on both."""
    told = {}
    for name, members in configs.items():
        with ExitStack() as stack:
            running = [
                stack.enter_context(gateway(one, DoubleEngine(), AdapterFiles(one).fetch)) for one in members
            ]
            users = Users(running)
            users.arrived = partial(until, partial(has_all, members[0], users), 30)
            told[name] = Story(members[0], users)
            told[name].run()
    return told


def rows_of(config):
    """Its rows but for times and ids, in the order of the questions."""
    engine = databases.connect_to(config.path(config.journal_url), read_only=True)
    query = "SELECT messages, adapter, digest, route, completion, fault FROM interactions"
    with engine.connect() as connection:
        found = [tuple(str(value) for value in row) for row in connection.execute(sa.text(query))]
    engine.dispose()
    return Counter(found)


def test_a_rollout_is_the_same_on_both(stories, configs):
    one, many = stories["one"], stories["many"]
    moved, refused = RolloutAnswer.MOVED, RolloutAnswer.ABORT
    assert [answer for _, answer, *_ in one.said] == [*[moved] * 5, refused, moved]
    assert many.said == one.said
    assert many.numbers == one.numbers
    assert route_of(many.users.answers) == route_of(one.users.answers)
    assert many.moves() == one.moves()
    assert rows_of(configs["many"][0]) == rows_of(configs["one"][0])
    for name, (config, *_) in configs.items():
        open_ledger(config).verify()
        assert verify(config) == 0, name
