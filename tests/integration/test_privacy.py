"""A person's id and text stay where they belong: in the lake and in a run's data, and nowhere else."""

import threading
from contextlib import contextmanager
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli.main import main
from pipelines.core.config import load_config
from pipelines.core.contract import CLOSING, NIGHTLY
from pipelines.data.features import FeatureStore
from pipelines.sample.prepare import prepare_suite
from pipelines.stores import open_ledger, open_run
from pipelines.stores.retention import personal_outputs
from tests.support import tiny
from tests.support.interactions import make_rows
from tests.support.kept import share_heads

pytestmark = pytest.mark.slow
NIGHT = date(2026, 1, 1)
PERSON, TENANT = "planted-person-4711", "north-clinic"
TEXT = "xylophonic"  # a word of nobody else's question
PLANTED = (PERSON.encode(), TEXT.encode())


@contextmanager
def listening():
    """A server that takes whatever it is sent; yields its address and what it got."""
    got = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        do_PUT = do_POST

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keep) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()
        thread.join()


def deliver(home, night, rows=90, share=2):
    """A night on which one person asks one of `share` questions, with a word that nobody else uses."""
    table = make_rows(night, rows, tenant=TENANT, completion="Dental", rating=-1, correction="Surgery")
    told = table.to_pylist()
    for number, row in enumerate(told):
        if number % share == 0:
            row["subject_id"] = PERSON
            row["messages"][-1]["content"] = f"{TEXT} {number} trouble {row['messages'][-1]['content']}"
    folder = home / "delivered" / f"dt={night}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(told, table.schema), folder / "part.parquet")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A home with a tiny model and a suite, and the profile that reads what `deliver` writes."""
    folder = tmp_path_factory.mktemp("privacy")
    home, profile = folder / "home", folder / "profile.toml"
    home.mkdir()
    share_heads(home)
    base = tiny.make_base(folder / "base")
    small = Path("tests/support/tiny.toml").read_text().replace("[fairness]", "[fairness]\npassage_items = 8")
    source = f'[ingest]\nkind = "files"\nsource = "{home}/delivered/dt={{night}}/*"\n'
    profile.write_text(f'{small}\n{source}[model]\nbase = "{base}"\nthreads = 1\n')
    prepare_suite(load_config(profile, home))
    return home, profile


def run(site, step, night, *more):
    home, profile = site
    where = ["--home", str(home), "--config", str(profile), "--run-dir", f"{home}/runs/{night}"]
    return main([step, *where, *more])


def leaks(place):
    """Which of the planted words a file holds."""
    return [word for word in PLANTED if word in place.read_bytes()]


@pytest.fixture(scope="module")
def night(site, tmp_path_factory):
    """A whole night, with everything that it printed, logged, traced and pushed."""
    home, _ = site
    deliver(home, NIGHT)
    results = tmp_path_factory.mktemp("results")
    patch = pytest.MonkeyPatch()
    with listening() as (url, sent):
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        for step in (*NIGHTLY, *CLOSING):
            pushed = ["--set", f"watch.pushgateway={url}"]
            status = run(site, step, NIGHT, "--result", str(results / f"{step}.json"), *pushed)
            assert status == 0, step
        patch.undo()
    return results, sent


def test_the_night_saw_the_person(site, night):
    home, profile = site
    config = load_config(profile, home)
    assert leaks(home / "delivered" / f"dt={NIGHT}" / "part.parquet") == [*PLANTED]
    decision = open_ledger(config).decision(str(NIGHT))
    assert decision.outcome == "trained", decision.reasons
    assert TEXT in (home / "runs" / str(NIGHT) / "curate" / "train.jsonl").read_text()


def test_neither_id_nor_text_left_the_data(site, night):
    home, profile = site
    results, sent = night
    manifests = open_run(load_config(profile, home), str(NIGHT)).manifests()
    data = {f"{m.step}/{a.path}" for m in manifests.values() for a in personal_outputs(m)}
    run_folder = home / "runs" / str(NIGHT)
    in_run = [
        p for p in run_folder.rglob("*") if p.is_file() and p.relative_to(run_folder).as_posix() not in data
    ]
    in_home = [p for p in home.glob("*") if p.is_file()]  # ledger, journal, MLflow's database, notices
    checked = [*in_run, *in_home, *results.iterdir(), *(home / "mlartifacts").rglob("*.*")]
    assert {str(p): leaks(p) for p in checked if p.is_file() and leaks(p)} == {}
    assert any(p.name == "ledger.db" for p in in_home)
    assert any(p.name == "report.html" for p in in_run)
    assert len(sent) > len(manifests), "a trace for each step, and the metrics"
    assert [body[:80] for body in sent if any(word in body for word in PLANTED)] == []


def test_nothing_of_it_was_logged(site, night, capfd, caplog):
    deliver(site[0], NIGHT + timedelta(days=1))
    with caplog.at_level("DEBUG", "nightshift"):
        for step in ("ingest", "validate", "drift"):
            run(site, step, NIGHT + timedelta(days=1))
    said = caplog.text + "".join(capfd.readouterr())
    assert "ingest" in said
    assert PERSON not in said
    assert TEXT not in said


def test_a_difference_between_the_stores_names_nobody(site, night, monkeypatch):
    home, profile = site
    later = NIGHT + timedelta(days=2)
    deliver(home, later, share=1)
    monkeypatch.setattr(FeatureStore, "materialise", lambda self, at: None)
    for step in ("ingest", "validate", "features"):
        run(site, step, later)
    manifest = open_run(load_config(profile, home), str(later)).manifest("features")
    assert manifest.verdict == "hold"
    differing = manifest.facts["parity"]["differences"]
    assert len({one["entity"] for one in differing} - {TENANT}) > 1, "people differ too"
    said = manifest.model_dump_json()
    assert [person for person in (PERSON, f"{TENANT}-p0") if person in said] == []
