"""The runner's promises, with small steps in place of the real ones."""

import json
import re
import sys
from types import ModuleType
from uuid import uuid4

import pytest

from pipelines.cli.main import main
from pipelines.core.config import load_config
from pipelines.core.contract import Verdict
from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.facts.reading import Facts
from pipelines.runner import Outcome, record_fault, run_step
from pipelines.stores import open_ledger
from pipelines.stores.runs import Run

NIGHT = "2026-01-01"


@pytest.fixture
def config(home):
    return load_config("config/demo.toml", home)


@pytest.fixture
def steps(monkeypatch):
    """`steps("ingest", run)` puts a step in place; the returned list counts its calls."""

    def put(name, run, settings=("ingest",), externals=lambda ctx: {}):
        calls = []

        def counted(ctx):
            calls.append(ctx.identity)
            return run(ctx)

        module = ModuleType(f"pipelines.steps.{name}")
        module.SETTINGS, module.external_inputs, module.run = settings, externals, counted
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return calls

    return put


class Rows(Facts):
    step = "ingest"
    rows: int


class Shares(Facts):
    step = "ingest"
    share: float


def write_rows(ctx):
    (ctx.out / "rows.txt").write_text("a\nb\n")
    (ctx.out / "docs").mkdir()
    (ctx.out / "docs" / "index.html").write_text("x")
    return Outcome(headline="2 rows", outputs={"rows": "rows.txt", "docs": "docs"}, facts=Rows(rows=2))


def read_rows(ctx):
    return Outcome(headline=ctx.read("ingest", "rows").read_text().replace("\n", "+"))


@pytest.fixture(params=["local", "memory"])
def run_uri(request, home):
    return f"{home}/runs/{NIGHT}" if request.param == "local" else f"memory://{uuid4().hex}/runs/{NIGHT}"


def test_a_step_reads_what_an_earlier_step_wrote(steps, config, run_uri):
    steps("ingest", write_rows)
    steps("validate", read_rows)
    assert run_step("ingest", run_uri, config).headline == "2 rows"
    assert run_step("validate", run_uri, config).headline == "a+b+"
    manifest = Run(run_uri).manifest("ingest")
    assert sorted(manifest.outputs) == ["docs/index.html", "rows"]
    assert Run(run_uri).artifact(manifest, "docs").is_dir()


def test_a_night_that_breaks_has_cost_something(steps, config):
    uri = f"{config.home}/runs/{NIGHT}"

    def breaks(ctx):
        sum(range(3_000_000))
        raise ValueError("out of luck")

    steps("ingest", write_rows)
    steps("validate", breaks)
    run_step("ingest", uri, config)
    for _ in range(2):
        with pytest.raises(ValueError, match="out of luck"):
            run_step("validate", uri, config)
    steps("validate", read_rows)
    run_step("validate", uri, config)
    costs = {row["step"]: row for row in open_ledger(config).costs(NIGHT)}
    assert costs.keys() == {"ingest", "validate broken-1", "validate broken-2", "validate"}
    assert min(row["cpu_seconds"] for name, row in costs.items() if "broken" in name) > 0


def test_finished_work_is_reused(steps, config, run_uri):
    calls = steps("ingest", write_rows)
    first, second = run_step("ingest", run_uri, config), run_step("ingest", run_uri, config)
    assert (first.reused, second.reused, len(calls)) == (False, True, 1)


@pytest.mark.parametrize("override", ["ingest.late_days", "seed"])
def test_other_settings_mean_other_work(steps, config, home, override):
    calls = steps("ingest", write_rows)
    uri = f"{home}/runs/{NIGHT}"
    run_step("ingest", uri, config)
    run_step("ingest", uri, load_config("config/demo.toml", home, {override: 5}))
    run_step("ingest", uri, load_config("config/demo.toml", home, {"train.epochs": 9}))  # not its section
    assert len(set(calls)) == 2


def test_other_external_input_means_other_work(steps, config, run_uri):
    steps("ingest", write_rows, externals=lambda ctx: {"source": "a"})
    run_step("ingest", run_uri, config)
    steps("ingest", write_rows, externals=lambda ctx: {"source": "b"})
    assert not run_step("ingest", run_uri, config).reused


def test_what_a_bug_quotes_stays_in_the_log(steps, config, run_uri, home, capsys, caplog):
    def broken(ctx):
        raise ValueError("could not convert 'my name is Quillon'")

    steps("ingest", broken)
    status = main(["ingest", "--run-dir", run_uri, "--home", str(home), "--config", "config/demo.toml"])
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 1
    assert re.fullmatch(r"fault: ValueError in test_runner\.py, line \d+\. This is a bug: the log .*", last)
    assert "Quillon" in caplog.text
    assert "Quillon" not in last


def test_a_step_that_broke_leaves_no_manifest_and_runs_again(steps, config, run_uri):
    def broken(ctx):
        (ctx.out / "half.txt").write_text("half")
        raise RuntimeError("power cut")

    steps("ingest", broken)
    with pytest.raises(RuntimeError) as error:
        run_step("ingest", run_uri, config)
    record_fault("ingest", run_uri, error.value)
    run = Run(run_uri)
    assert run.manifest("ingest") is None
    assert run.fault("ingest").message == "power cut"
    steps("ingest", write_rows)
    run_step("ingest", run_uri, config)
    assert run.fault("ingest") is None
    assert not run.folder.exists("ingest/half.txt")


def test_a_step_does_not_start_before_its_inputs(steps, config, run_uri):
    steps("validate", read_rows)
    with pytest.raises(InputError, match="Run ingest first"):
        run_step("validate", run_uri, config)


def test_a_step_does_not_follow_one_that_stopped_the_night(steps, config, run_uri):
    steps("ingest", lambda ctx: Outcome("0 rows", Verdict.HOLD, ("the night is empty",)))
    steps("validate", read_rows)
    run_step("ingest", run_uri, config)
    with pytest.raises(InputError, match="the night is empty"):
        run_step("validate", run_uri, config)


def test_changed_bytes_are_not_trusted(steps, config, home):
    uri = f"{home}/runs/{NIGHT}"
    steps("ingest", write_rows)
    steps("validate", read_rows)
    run_step("ingest", uri, config)
    (home / "runs" / NIGHT / "ingest" / "rows.txt").write_text("tampered")
    with pytest.raises(IntegrityError, match=r"rows\.txt"):
        run_step("validate", uri, config)


def test_a_decided_night_is_closed(steps, config, run_uri, home):
    calls = steps("ingest", write_rows)
    steps("record", lambda ctx: Outcome(headline="trained"), settings=("cost",))
    run_step("ingest", run_uri, config)
    run_step("record", run_uri, config)
    changed = load_config("config/demo.toml", home, {"ingest.late_days": 9})
    assert run_step("ingest", run_uri, changed).reused
    assert len(calls) == 1


def test_facts_must_be_finite_numbers(steps, config, home):
    steps("ingest", lambda ctx: Outcome("x", facts=Shares(share=float("nan"))))
    with pytest.raises(ValueError, match="finite number"):
        run_step("ingest", f"{home}/runs/{NIGHT}", config)


def test_a_manifest_is_plain_json_for_people(steps, config, home):
    steps("ingest", write_rows)
    run_step("ingest", f"{home}/runs/{NIGHT}", config)
    written = json.loads((home / "runs" / NIGHT / "ingest" / "manifest.json").read_text())
    assert written["night"] == NIGHT
    assert written["usage"]["peak_memory_mib"] > 1
