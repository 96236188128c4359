"""A candidate waits for fresh rows and is measured again, by the real decide, curate, train and gate."""

import json
from datetime import date

import pyarrow as pa
import pytest

from pipelines.core.config import Config
from pipelines.core.contract import Verdict
from pipelines.core.conversations import conversation_key
from pipelines.core.facts.common import Baseline, Waiting
from pipelines.core.facts.reading import parsed
from pipelines.data.feedback_states import trainings
from pipelines.data.held_back import held_back_keys
from pipelines.data.lake import Lake
from pipelines.evaluation.pool import asked_until
from pipelines.evaluation.waiting import fresh_items, waiting_candidate
from pipelines.models.registry import adapter_digest
from pipelines.policy.night.feedback import is_kept_back
from pipelines.runner import run_step
from pipelines.stores import open_ledger
from pipelines.stores.runs import Run
from tests.support import tiny
from tests.support.facts import facts_like, group
from tests.support.interactions import LABELS, SYSTEM, make_rows
from tests.support.nightfall import finish

pytestmark = pytest.mark.slow
SUITE = "a" * 64
CLOSE = {"n": 240, "both": 60, "only_production": 20, "only_candidate": 32, "neither": 128}
ALIKE = {"won": 8, "lost": 1, "neither": 31}
CLEAR = {"won": 40, "lost": 1, "neither": 31}
NONE = {"won": 0, "lost": 0, "neither": 0}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    return tiny.make_adapter(base, tmp_path_factory.mktemp("adapters") / "idle", [], 0)


@pytest.fixture
def config(home, base):
    return config_of(home, base)


def config_of(home, base, **changes):
    (home / "sample").mkdir(exist_ok=True)
    item = {"messages": [{"role": "user", "content": "Which one?"}], "answer": LABELS[0]}
    (home / "sample/suite.jsonl").write_text(json.dumps(item))
    return Config.model_validate(
        {
            "profile": "test",
            "home": str(home),
            "model": {"base": str(base)},
            "task": {"labels": LABELS, "system_prompt": SYSTEM},
            "register": {"name": "router"},
            "gate": {"max_nights_waiting": 30},
            "curate": {"people_kept_back": 0.1},
            **changes,
        }
    )


def decide(config, night):
    run = Run(f"{config.home}/runs/{night}")
    lake = Lake(config.path(config.lake_root), 512)
    lake.publish(run.night, make_rows(run.night, 60, rating=1, completion="Surgery", correction=None))
    for step in ("ingest", "validate", "features", "drift"):
        finish(run, step, facts_like(step, drift=False) if step == "drift" else {})
    run_step("decide", run.folder.uri, config)
    return run


def first_night(config, adapter, fresh=ALIKE, night="2026-01-09"):
    """A night that trained; what evaluate found is given."""
    run = decide(config, night)
    finish(run, "decide", {"deliveries": {"2026-01-09": "d"}})
    files = {}
    for name in ("train", "dev", "canaries", "card"):
        files[name] = run.folder.path(f"made/{name}.jsonl")
        files[name].parent.mkdir(exist_ok=True)
        files[name].write_text(f'{{"of": "{night}"}}\n')
    finish(run, "curate", {"people_kept_back": 0.1, "training_set": "set"}, files)
    finish(run, "train", {"adapter_digest": adapter_digest(adapter)}, {"adapter": adapter})
    return judge(config, run, fresh)


def judge(config, run, fresh, pool=None, **paired):
    latency = {"production": 50.0, "candidate": 51.0, "ratio": 1.02}
    facts = {"suite_digest": SUITE, "paired": CLOSE | paired, "fresh": fresh, "pool": pool}
    finish(run, "evaluate", facts, readings={"latency_ms": latency})
    finish(run, "fairness", {"stereotype": [group("not worse")], "slices": [], "answer": "not worse"})
    finish(run, "safety", {"answer": "safe", "reasons": []})
    run_step("gate", run.folder.uri, config)
    return run


def again(config, run):
    """Curate and train of the next night."""
    for step in ("curate", "train"):
        assert run_step(step, run.folder.uri, config).verdict is Verdict.PROCEED
    return run


def closed(config, run):
    if run.manifest("gate").verdict is Verdict.PROCEED:
        finish(run, "register", {"version": "1"})
    run_step("record", run.folder.uri, config)
    return open_ledger(config).decision(run.run_id)


def test_a_candidate_waits_and_passes_on_later_rows(config, adapter, monkeypatch):
    monkeypatch.setattr("pipelines.policy.night.waiting.OPTIMISM", 1.5)
    first = first_night(config, adapter)
    gate = first.manifest("gate")
    assert gate.verdict is Verdict.WAIT, gate.reasons
    assert gate.headline.startswith("wait: 40 of about ")
    waiting = gate.facts["waiting"]
    assert (waiting["run_id"], waiting["won"], waiting["nights"]) == ("2026-01-09", 8, 1)
    decision = closed(config, first)
    assert (decision.outcome, decision.facts["waiting"]) == ("waiting", waiting)

    second = again(config, decide(config, "2026-01-10"))
    decided = second.manifest("decide")
    assert decided.verdict is Verdict.PROCEED
    assert "The candidate of 2026-01-09 waits, after 40 of about" in decided.reasons[0]
    assert decided.facts["waiting"] == waiting
    assert decided.facts["deliveries"] == {"2026-01-09": "d"}
    for step in ("curate", "train"):
        now, then = second.manifest(step), first.manifest(step)
        assert now.facts == then.facts
        assert {n: a.sha256 for n, a in now.outputs.items()} == {n: a.sha256 for n, a in then.outputs.items()}
    assert run_step("decide", second.folder.uri, config).reused  # a rerun counts nothing twice

    judge(config, second, ALIKE)
    found = second.manifest("gate").facts["waiting"]
    assert (found["won"], found["nights"], found["level"]) == (16, 2, waiting["level"])
    assert found["run_id"] == "2026-01-09"
    decision = closed(config, second)
    assert decision.facts["measured_again"] == "2026-01-09"
    assert list(trainings(open_ledger(config), "")) == ["2026-01-09"]

    third = judge(config, again(config, decide(config, "2026-01-11")), CLEAR)
    assert third.manifest("gate").verdict is Verdict.PROCEED, third.manifest("gate").reasons
    assert third.manifest("gate").headline.endswith(" fresh rows in 3 nights: enough for the claim")
    assert third.manifest("gate").facts["alpha_tonight"] == waiting["level"]
    assert closed(config, third).outcome == "trained"
    fourth = decide(config, "2026-01-12")
    assert fourth.manifest("decide").facts["waiting"] is None
    # The candidate asked once, though it was measured on three nights.
    judged = first_night(config, adapter, NONE, "2026-01-12")
    assert judged.manifest("gate").facts["asks_before"] == 1


def test_items_of_a_pool_count_beside_fresh_rows(config, adapter):
    """Rows count with odds 2. Which items each night asked is on record."""
    items = {"won": 10, "lost": 1, "neither": 89, "position": "a 1", "left": 200}
    first = judge(config, first_night(config, adapter), ALIKE, items)
    gate = first.manifest("gate")
    assert gate.verdict is Verdict.WAIT, gate.reasons
    assert gate.headline.startswith("wait: 140 of about ")
    assert " fresh rows, 100 of them items of the pool, in 1 night" in gate.headline
    assert gate.facts["waiting"]["pool"] == {"won": 10, "lost": 1, "neither": 89}
    assert closed(config, first).facts["pool_position"] == "a 1"

    second = again(config, decide(config, "2026-01-10"))
    judge(config, second, ALIKE, items | {"won": 30, "position": "b 2"})
    assert second.manifest("gate").verdict is Verdict.PROCEED
    assert asked_until(config, "2026-01-11") == "a 1"
    closed(config, second)
    assert asked_until(config, "2026-01-11") == "b 2"
    assert asked_until(config, "2026-01-10") == "a 1"


def test_a_night_that_trains_holds_the_pool_back(home, base):
    item = {"messages": [{"role": "user", "content": "Who sets a bone?"}], "answer": LABELS[0]}
    (home / "pool.jsonl").write_text(json.dumps(item))
    pool = {"evaluate": {"pool": "{home}/pool.jsonl"}}
    quiet = decide(config_of(home, base, decide={"min_corrections": 100_000}, **pool), "2026-01-09")
    assert quiet.manifest("decide").verdict is not Verdict.PROCEED
    assert not held_back_keys(config_of(home, base))
    forced = decide(config_of(home, base, decide={"force": True}, **pool), "2026-01-10")
    assert forced.manifest("decide").verdict is Verdict.PROCEED
    assert held_back_keys(config_of(home, base)) == {conversation_key(item["messages"])}


def test_it_waits_only_for_what_it_was_compared_with(home, base, config, adapter):
    closed(config, first_night(config, adapter))
    bare, tenth = Baseline(kind="base"), date(2026, 1, 10)
    assert waiting_candidate(config, "2026-01-10", tenth, bare).run_id == "2026-01-09"
    assert waiting_candidate(config, "2026-01-09", tenth, bare) is None  # the run itself, once more
    assert waiting_candidate(config, "2026-01-10", date(2026, 1, 8), bare) is None
    other = Baseline(kind="adapter", version="1", digest="b" * 64)
    assert waiting_candidate(config, "2026-01-10", tenth, other) is None
    for changes in (
        {"task": {"labels": LABELS, "system_prompt": "Say it otherwise."}},
        {"gate": {"max_nights_waiting": 0}},
    ):
        assert waiting_candidate(config_of(home, base, **changes), "2026-01-10", tenth, bare) is None
    (home / "runs/2026-01-09/train/manifest.json").unlink()
    assert waiting_candidate(config, "2026-01-10", tenth, bare) is None


def test_a_night_that_was_asked_for_trains(home, base, config, adapter):
    closed(config, first_night(config, adapter))
    forced = decide(config_of(home, base, decide={"force": True}), "2026-01-10-forced")
    assert forced.manifest("decide").facts["waiting"] is None
    alert = decide(config_of(home, base, decide={"cause": "alert:drift"}), "2026-01-10-alert")
    assert alert.manifest("decide").facts["waiting"] is None


def test_what_a_first_night_decides(config, adapter):
    run = first_night(config, adapter)
    for fresh, paired, verdict in (
        (NONE, {}, Verdict.REJECT),  # the suite decides alone
        ({"won": 2, "lost": 30, "neither": 40}, {}, Verdict.REJECT),
        (CLEAR, {}, Verdict.PROCEED),
        (CLEAR, {"only_production": 90, "only_candidate": 2}, Verdict.REJECT),  # worse on the suite
        (NONE, {"only_candidate": 90}, Verdict.PROCEED),
    ):
        gate = judge(config, run, fresh, **paired).manifest("gate")
        assert gate.verdict is verdict, gate.reasons
        assert gate.facts["waiting"] is None


def test_fresh_rows_are_of_people_kept_back_and_of_later_nights(config, adapter):
    run = first_night(config, adapter)
    closed(config, run)
    waiting = parsed(run.manifest("gate").facts["waiting"], Waiting)
    lake = Lake(config.path(config.lake_root), 512)
    late = make_rows(date(2026, 1, 9), 40, seed=2)  # asked before: the candidate may know them
    tonight = make_rows(date(2026, 1, 10), 300, seed=1)
    lake.publish(date(2026, 1, 10), pa.concat_tables([late, tonight]))

    def asked(night, waiting, share):
        return fresh_items(config, date.fromisoformat(night), waiting, share, lambda messages: True)

    everybody = asked("2026-01-10", waiting, 0.0)
    people = [(row["tenant"], row["subject_id"]) for row in everybody]
    assert len(people) == len(set(people)) > 40
    assert {row["ts"].date() for row in everybody} == {date(2026, 1, 10)}
    theirs = asked("2026-01-10", waiting, 0.3)
    assert 0 < len(theirs) < len(everybody)
    assert all(is_kept_back(row["tenant"], row["subject_id"], 0.3) for row in theirs)
    assert asked("2026-01-09", None, 0.3)
    assert asked("2026-01-09", None, 0.0) == []  # tonight's rows may have been trained on
