"""Whole nights of tasks that write, on a tiny model: from users' corrections to a model in the registry."""

import json
from datetime import date, timedelta

import pyarrow.parquet as pq
import pytest

from pipelines.cli.main import main as nightshift
from pipelines.core.contract import CLOSING, NIGHTLY
from pipelines.stores.runs import Run
from tests.support import tiny
from tests.support.configs import TINY
from tests.support.interactions import make_rows
from tests.support.kept import share_heads

pytestmark = pytest.mark.slow
NIGHT = date(2026, 1, 2)
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


def answers_of(kind, count, seed):
    """Right answers, as people write them: JSON with its keys in another order, or a sentence."""
    wards = [("Dental", "Surgery", "Anatomy")[(place + seed) % 3] for place in range(count)]
    if kind == "extract":
        return [f'{{"days":{place % 7}, "ward": "{ward}"}}' for place, ward in enumerate(wards)]
    return [f"Please go to {ward} in {place % 7} days." for place, ward in enumerate(wards)]


def talk(place):
    """Of one turn, or of three with a system prompt of its own."""
    asked = {"role": "user", "content": f"Patient {place} has a pain number {place * 7919}. Where to?"}
    if place % 4:
        return [asked]
    before = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]
    return [{"role": "system", "content": "Be short."}, *before, asked]


def deliver(folder, kind, night):
    count = 80
    right = answers_of(kind, count, night.day)
    liked = [place % 2 == 0 for place in range(count)]
    rows = make_rows(
        night,
        count,
        messages=[talk(1000 * night.day + place) for place in range(count)],
        completion=[text if ok else "Sorry?" for text, ok in zip(right, liked, strict=True)],
        rating=[1 if ok else -1 for ok in liked],
        correction=[None if ok else text for text, ok in zip(right, liked, strict=True)],
    )
    (folder / f"dt={night}").mkdir(parents=True)
    pq.write_table(rows, folder / f"dt={night}" / "part.parquet")


@pytest.fixture(scope="module", params=KINDS)
def site(request, tmp_path_factory):
    """The kind, and the options of commands of a home with a model, a suite and two nights' deliveries."""
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    tiny.make_base(folder / "base")
    for back in (1, 0):
        deliver(folder / "logs", kind, NIGHT - timedelta(days=back))
    items = [
        {"messages": talk(place), "answer": json.loads(text) if kind == "extract" else text}
        for place, text in enumerate(answers_of(kind, 12, 0))
    ]
    (folder / "suite.jsonl").write_text("\n".join(map(json.dumps, items)))
    share_heads(folder / "home")
    (folder / "profile.json").write_text(json.dumps(KINDS[kind]))
    settings = {
        **{f"task.{name}": value for name, value in KINDS[kind].items()},
        "task.labels": [],
        "model.base": str(folder / "base"),
        "model.max_new_tokens": 40,
        "train.max_length_tokens": 320,
        "evaluate.suite": str(folder / "suite.jsonl"),
        "ingest.kind": "files",
        "ingest.source": f"{folder}/logs/dt={{night}}/*.parquet",
        "features.sync_schedule": "",
    }
    sets = [f"--set={name}={as_toml(value)}" for name, value in settings.items()]
    return kind, folder / "home", ["--config", str(TINY), "--home", str(folder / "home"), *sets]


def as_toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {as_toml(one)}" for name, one in value.items()) + "}"
    return json.dumps(value)


def test_two_nights_train_and_register(site):
    """The second night has rows to replay, and kept-back rows to ask about forgetting."""
    kind, home, where = site
    assert nightshift(["prepare", *where]) == 0
    for night in (NIGHT - timedelta(days=1), NIGHT):
        for step in (*NIGHTLY, *CLOSING):
            more = ["--set=decide.force=true"] if step == "decide" else []
            assert nightshift([step, f"--run-dir={home}/runs/{night}", *where, *more]) == 0, step
    run = Run(f"{home}/runs/{NIGHT}")
    curate, evaluate, gate = (run.manifest(step) for step in ("curate", "evaluate", "gate"))
    assert curate.verdict == "proceed", curate.reasons
    assert curate.facts["answers"] == {}
    assert evaluate.facts["measure"] == {"extract": "field_f1", "generate": "chrf"}[kind]
    assert gate.verdict == "proceed", gate.reasons
    assert run.manifest("register").verdict == "proceed", run.manifest("register").reasons
    rows = [json.loads(line) for line in run.artifact(curate, "train").read_text().splitlines()]
    said = [row["completion"][0]["content"] for row in rows if row["origin"] != "canary"]
    if kind == "extract":  # trained on in the schema's order, which the grammar writes
        assert all(list(json.loads(text)) == ["ward", "days"] for text in said)
    assert len(set(said)) > 5
