"""The real parts together: embedded engine, registry, ledger, journal, the next night's ingest."""

import http.server
import threading

import pytest

from gateway.engines.embedded import EmbeddedEngine
from gateway.serving.adapter_files import AdapterFiles
from gateway.tracing import tracing
from pipelines.core.errors import IntegrityError
from pipelines.core.traffic_split import Adapter, Route, to_canary, to_production, to_shadow
from pipelines.models import engine as evaluated
from pipelines.models import open_registry, open_tracker
from tests.support import tiny
from tests.support.gateways import chat, gateway, gateway_config, until
from tests.support.journal import journal_rows
from tests.support.nights import Night

QUESTIONS = [f"Where does case {number} go?" for number in range(8)]
FROM_GATEWAY = {"ingest.kind": "gateway", "ingest.source": "", "validate.min_rows": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def config(home, base):
    return gateway_config(home, **{"model.base": str(base)})


@pytest.fixture
def candidate(config, base, tmp_path):
    """A registered adapter that answers otherwise than the base."""
    folder = tiny.make_adapter(base, tmp_path / "adapter", [f"{q} Surgery" for q in QUESTIONS], 20)
    (folder / "README.md").unlink(missing_ok=True)
    tracker = open_tracker(config)
    registry = open_registry(config)
    run = tracker.run("2026-01-01", "f" * 64)
    found = registry.register(folder, tracker, run, "2026-01-01", ("2026-01-01",), {})
    return Adapter(found.version, found.digest)


def evaluated_answers(config, folder=None):
    """What evaluation says to the questions, with the bare base or with an adapter."""
    engine = evaluated.Engine(config.model, config.model.base)
    if folder:
        engine.load("candidate", folder)
    system = {"role": "system", "content": config.task.system_prompt}
    asked = [[system, {"role": "user", "content": question}] for question in QUESTIONS]
    return engine.choose(asked, config.task.labels)


@pytest.mark.slow
def test_served_is_evaluated_and_read_by_the_next_night(config, candidate, home):
    fetch = AdapterFiles(config).fetch
    by_base, by_candidate = evaluated_answers(config), evaluated_answers(config, fetch(candidate))
    assert by_base != by_candidate
    engine = EmbeddedEngine(config.serving, config.model, config.model.base)
    with gateway(config, engine, fetch) as running, running.client() as client:

        def answers(user):
            bodies = [{"text": question, "user": user} for question in QUESTIONS]
            return [client.post("/predict", json=body).json() for body in bodies]

        said = answers("p-base")
        assert [answer["label"] for answer in said] == by_base
        running.promote(to_shadow(Route(), candidate))
        assert [answer["label"] for answer in answers("p-cached")] == by_base
        fresh = client.post("/v1/chat/completions", json=chat("Where does the femur go?", max_tokens=4))
        assert fresh.json()["nightshift"]["adapter"] == "base"
        until(lambda: [row for row in journal_rows(home) if row["route"] == "shadow"], 30)
        route = to_canary(to_shadow(Route(), candidate), candidate, 1.0)
        running.promote(route)
        assert [answer["label"] for answer in answers("p-canary")] == by_candidate
        running.promote(to_production(route, candidate))
        after = answers("p-production")
        assert [answer["label"] for answer in after] == by_candidate
        for answer in after:
            opinion = {"request_id": answer["request_id"], "rating": -1, "correction": "Dental"}
            assert client.post("/v1/feedback", json=opinion).status_code == 200
    day = journal_rows(home)[0]["ts"].date()
    night = Night(home, day, FROM_GATEWAY)
    manifest = night.run("ingest")
    assert manifest.facts["kept"] == manifest.facts["read"] == 4 * len(QUESTIONS) + 1
    kept = night.rows("ingest", "rows")
    assert {row["request_id"] for row in kept if row["correction"] == "Dental"} == {
        answer["request_id"] for answer in after
    }
    assert {(row["adapter"], row["route"]) for row in kept} == {
        ("base", "production"),
        (candidate.version, "canary"),
        (candidate.version, "production"),
    }


def test_files_replaced_after_their_promotion_are_refused(config, candidate):
    with pytest.raises(IntegrityError, match="promote it again"):
        AdapterFiles(config).fetch(Adapter(candidate.version, "another"))


def test_spans_reach_a_collector(monkeypatch):
    got = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            """Quiet."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    with tracing() as tracer:
        tracer.start_span("a-span-of-mine").end()
    server.shutdown()
    server.server_close()
    assert [path for path, _ in got] == ["/v1/traces"]
    assert b"a-span-of-mine" in got[0][1]
    assert b"nightshift-gateway" in got[0][1]
