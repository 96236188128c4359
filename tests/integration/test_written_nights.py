"""The whole loop of tasks that write, on a tiny model: from corrections over two nights to production.

The log has what chat logs have: several turns, content parts, system prompts of their own, calls of tools.
"""

import json
from datetime import date, timedelta

import pytest
from transformers import AutoTokenizer

from gateway.__main__ import make_engine
from gateway.serving.adapter_files import AdapterFiles
from pipelines.cli.main import main as nightshift
from pipelines.core.config import load_config
from pipelines.core.contract import CLOSING, NIGHTLY
from pipelines.core.results import RolloutAnswer
from pipelines.core.tools import read_answer
from pipelines.evaluation.tasks import task_of
from pipelines.operations import rollout
from pipelines.stores import open_ledger
from pipelines.stores.runs import Run
from tests.support import templates, tiny
from tests.support.configs import TINY
from tests.support.gateways import gateway, until
from tests.support.interactions import make_rows
from tests.support.kept import share_heads

pytestmark = pytest.mark.slow
NIGHT = date(2026, 1, 2)
ANN = rollout.Provenance("ann", "a test", "run-1")
SCHEMA = {
    "type": "object",
    "properties": {"ward": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "maximum": 99}},
    "required": ["ward", "days"],
    "additionalProperties": False,
}
KINDS = {
    "extract": {"kind": "extract", "json_schema": SCHEMA},
    "generate": {"kind": "generate"},
}
SCORERS = {"extract": ["field_f1", "exact"], "generate": ["chrf", "tool_calls"]}
WARDS = {"tooth": "Dental", "wound": "Surgery", "bone": "Anatomy"}
DAYS = {"at once": 0, "this week": 5, "some time": 30}
STAGES = [
    {"name": "shadow", "bake_s": 0, "min_answers": 20, "guards": ["errors", "refusals"]},
    {"name": "canary", "weight": 0.5, "bake_s": 0, "min_answers": 20, "min_rated": 20, "margin": 0.3,
     "guards": ["errors", "refusals"]},
]  # fmt: skip


def case(kind, place):
    """A question and its right answer, as people write it: a sentence, or JSON with keys in another order."""
    sign, when = list(WARDS)[place % 3], list(DAYS)[place // 3 % 3]
    asked = f"Patient {place} with number {place * 7919}: {sign}, {when}. Where to?"
    if kind == "extract":
        return asked, f'{{"days":{DAYS[when]}, "ward": "{WARDS[sign]}"}}'
    return asked, f"Please go to {WARDS[sign]} in {DAYS[when]} days."


BEDS = {"name": "beds", "parameters": {"type": "object", "properties": {"ward": {"type": "string"}}}}
TOOLS = [{"type": "function", "function": BEDS}]
CALLING = 10  # rows of a night in which a tool is called, where answers are texts


def talk(place, asked):
    """Of one turn, which may be in parts, or of three with a system prompt of its own."""
    if place % 4 == 1:
        parts = [{"type": "text", "text": text} for text in asked.partition(": ")]
        return [{"role": "user", "content": parts}]
    asked = {"role": "user", "content": asked}
    if place % 4:
        return [asked]
    before = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]
    return [{"role": "system", "content": "Be short."}, *before, asked]


def calling(place):
    """A talk in which the model called a tool and was told something, and the next call, which is right."""
    before = {"id": f"c{place}", "type": "function", "function": {"name": "beds", "arguments": "{}"}}
    turns = [
        {"role": "user", "content": f"Is a bed free for patient {place * 7919}?"},
        {"role": "assistant", "content": None, "tool_calls": [before]},
        {"role": "tool", "tool_call_id": f"c{place}", "content": f"Which ward? Number {place}"},
    ]
    return turns, json.dumps([{"name": "beds", "arguments": {"ward": list(WARDS.values())[place % 3]}}])


def deliver(folder, kind, night):
    places = range(1000 * night.day, 1000 * night.day + 80)
    asked, right = zip(*(case(kind, place) for place in places), strict=True)
    liked = [place % 2 == 0 for place in places]
    rows = make_rows(
        night,
        len(places),
        completion=[text if ok else "Sorry?" for text, ok in zip(right, liked, strict=True)],
        rating=[1 if ok else -1 for ok in liked],
        correction=[None if ok else text for text, ok in zip(right, liked, strict=True)],
    )
    lines = [
        {**row, "messages": talk(place, text)}
        for row, place, text in zip(rows.to_pylist(), places, asked, strict=True)
    ]
    if kind == "generate":
        for place in range(1000 * night.day, 1000 * night.day + CALLING):
            turns, call = calling(place)
            told = {"completion": call, "rating": 1, "correction": None, "request_id": f"call-{place}"}
            lines.append({**lines[place % 80], **told, "messages": turns, "tools": TOOLS})
    (folder / f"dt={night}").mkdir(parents=True)
    written = "\n".join(json.dumps(line, default=str) for line in lines)
    (folder / f"dt={night}" / "part.jsonl").write_text(written)


def suite_item(kind, place):
    asked, answer = case(kind, place)
    return {"messages": talk(place, asked), "answer": json.loads(answer) if kind == "extract" else answer}


@pytest.fixture(scope="module", params=KINDS)
def site(request, tmp_path_factory):
    """The kind, and the settings of a home with a model, a suite and two nights' deliveries."""
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    make_base(folder / "base")
    for back in (1, 0):
        deliver(folder / "logs", kind, NIGHT - timedelta(days=back))
    items = [suite_item(kind, place) for place in range(12)]
    if kind == "generate":
        items += [
            {"messages": turns, "tools": TOOLS, "answer": call} for turns, call in map(calling, range(2))
        ]
    (folder / "suite.jsonl").write_text("\n".join(map(json.dumps, items)))
    share_heads(folder / "home")
    return kind, folder / "home", {
        **{f"task.{name}": value for name, value in KINDS[kind].items()},
        "task.labels": [],
        "model.base": str(folder / "base"),
        "model.max_new_tokens": 40,
        "curate.max_examples": 120,
        "curate.near_duplicate_similarity": 1.0,  # the questions differ in a few words
        "train.max_length_tokens": 320,
        "train.rank": 32,
        "train.learning_rate": 1e-2,
        "train.epochs": 4,
        "evaluate.scorers": SCORERS[kind],
        "evaluate.suite": str(folder / "suite.jsonl"),
        "ingest.kind": "files",
        "ingest.source": f"{folder}/logs/dt={{night}}/*.jsonl",
        "features.sync_schedule": "",
    }  # fmt: skip


def make_base(folder):
    """A base whose chat template takes tools, and writes all else as the base's own does."""
    tokenizer = AutoTokenizer.from_pretrained(tiny.make_base(folder))
    tokenizer.chat_template = templates.HERMES
    tokenizer.save_pretrained(folder)


def options(home, settings):
    sets = [f"--set={name}={as_toml(value)}" for name, value in settings.items()]
    return ["--config", str(TINY), "--home", str(home), *sets]


def as_toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {as_toml(one)}" for name, one in value.items()) + "}"
    return json.dumps(value)


@pytest.fixture(scope="module")
def nights(site):
    """Two nights: the second has rows to replay, and kept-back rows to ask about forgetting."""
    _, home, settings = site
    where = options(home, settings)
    assert nightshift(["prepare", *where]) == 0
    for night in (NIGHT - timedelta(days=1), NIGHT):
        for step in (*NIGHTLY, *CLOSING):
            more = ["--set=decide.force=true"] if step == "decide" else []
            assert nightshift([step, f"--run-dir={home}/runs/{night}", *where, *more]) == 0, step
    return Run(f"{home}/runs/{NIGHT}")


def test_two_nights_train_and_register(site, nights, capsys):
    kind, home, settings = site
    curate, evaluate, gate = (nights.manifest(step) for step in ("curate", "evaluate", "gate"))
    assert curate.verdict == "proceed", curate.reasons
    assert curate.facts["answers"] == {}
    assert evaluate.facts["measure"] == {"extract": "field_f1", "generate": "chrf"}[kind]
    assert gate.verdict == "proceed", gate.reasons
    assert nights.manifest("register").verdict == "proceed", nights.manifest("register").reasons
    rows = [json.loads(line) for line in nights.artifact(curate, "train").read_text().splitlines()]
    said = [row["completion"][0]["content"] for row in rows if row["origin"] != "canary"]
    if kind == "extract":  # trained on in the schema's order, which the grammar writes
        assert all(list(json.loads(text)) == ["ward", "days"] for text in said)
    assert len(set(said)) > 5
    assert not curate.facts["counts"]["new"]["cannot_render"]
    prompts = [row["prompt"] for row in rows]
    assert all(isinstance(turn["content"], str) for turns in prompts for turn in turns)
    assert {"Be short."} < {
        turn["content"] for turns in prompts for turn in turns if turn["role"] == "system"
    }
    with_tools = [row for row in rows if row["prompt"][0]["role"] == "tools"]
    assert bool(with_tools) == (kind == "generate")
    assert all(read_answer(row["completion"][0]["content"])[1][0].name == "beds" for row in with_tools)
    if with_tools:
        assert evaluate.facts["scores"]["tool_calls"]["n"] == 14
    assert nightshift(["status", f"--run-id={NIGHT}", *options(home, settings)]) == 0
    assert f"{evaluate.facts['measure']} before" in capsys.readouterr().out


class Users:
    """They ask `/predict` through a gateway, and rate each answer as the task scores it."""

    def __init__(self, kind, config, client):
        self.kind, self.task, self.client = kind, task_of(config), client
        self.liked = []  # (adapter, whether its answer was liked)

    def ask(self, count):
        for number in range(len(self.liked), len(self.liked) + count):
            text, right = case(self.kind, 9000 + number)
            right = self.task.read(right)
            got = self.client.post("/predict", json={"text": text, "user": f"p-{number}"}).json()
            assert got["value"] == (json.loads(got["label"]) if self.kind == "extract" else None)
            good = self.task.score([self.task.read(got["label"]) or ""], [right])[0] >= 0.7
            self.liked.append((got["adapter"], good))
            opinion = {"rating": 1} if good else {"rating": -1, "correction": right}
            said = self.client.post("/v1/feedback", json={"request_id": got["request_id"], **opinion})
            assert said.status_code == 200, said.text

    def share_liked(self, adapter):
        liked = [good for name, good in self.liked if name == adapter]
        return sum(liked) / len(liked)


def test_live_traffic_promotes_the_candidate(site, nights):
    """Each move is earned by answers of the real engine; afterwards the promoted adapter answers everyone."""
    kind, home, settings = site
    quick = {"gateway.port": 0, "gateway.poll_s": 0.02, "gateway.journal_commit_ms": 5}
    config = load_config(TINY, home, settings | quick | {"promote.stages": STAGES, "promote.interval_s": 5})
    files = AdapterFiles(config)
    started = rollout.start_shadow(config, ANN)
    assert started.answer is RolloutAnswer.MOVED, started
    candidate = open_ledger(config).promotion().route.shadow
    with (
        gateway(config, make_engine(config), files.fetch, probes_of=files.probes) as running,
        running.client() as client,
    ):
        users = Users(kind, config, client)
        for stage, to in (("shadow", "canary"), ("canary", "production")):
            seen = rollout.assess_stage(config, stage)
            while seen.answer is RolloutAnswer.CONTINUE and len(users.liked) < 300:
                users.ask(20)
                seen = rollout.assess_stage(config, stage)
            assert seen.answer is RolloutAnswer.PROMOTE, seen
            moved = rollout.advance(config, ANN, to, candidate)
            assert moved.answer is RolloutAnswer.MOVED, moved
            until(lambda moved=moved: running.ready()["promotion"] == moved.promotion)
        users.ask(5)
    assert {adapter for adapter, _ in users.liked[-5:]} == {candidate.version}
    assert users.share_liked("base") < users.share_liked(candidate.version)
    assert [move.move for move in open_ledger(config).promotions()] == ["shadow", "canary", "production"]
