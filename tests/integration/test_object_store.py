"""Runs on a real S3-compatible store: one winner a step, whole outputs, copies by digest, errors in words."""

import os
import signal
import sys
import threading
from types import ModuleType

import fsspec
import pytest

from pipelines.core.cache import OUTPUTS, trim_cache
from pipelines.core.config import load_config
from pipelines.core.errors import InputError, IntegrityError, UnavailableError
from pipelines.runner import Outcome, run_step
from pipelines.stores import open_run, report_uri
from pipelines.stores.blobs import Folder
from tests.support.cluster import free_port
from tests.support.manifests import make_manifest

NIGHT = "2026-01-01"


@pytest.fixture(params=["local", "s3"])
def root(request, home):
    """`runs_root`, on both."""
    return f"{home}/runs" if request.param == "local" else request.getfixturevalue("bucket") + "/runs"


@pytest.fixture
def config(home, root):
    return load_config("config/demo.toml", home, {"runs_root": root})


@pytest.fixture
def step(monkeypatch):
    """`step("ingest", run)` puts a step in place."""

    def put(name, run, externals=lambda ctx: {}):
        module = ModuleType(f"pipelines.steps.{name}")
        module.SETTINGS, module.external_inputs, module.run = ("ingest",), externals, run
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return put


def writes(text):
    def run(ctx):
        (ctx.out / "rows.txt").write_text(text)
        (ctx.out / "docs").mkdir()
        (ctx.out / "docs" / "index.html").write_text(text)
        return Outcome(headline=text, outputs={"rows": "rows.txt", "docs": "docs"})

    return run


def read(config, name="rows"):
    run = open_run(config, NIGHT)
    return run.artifact(run.manifest("ingest"), name).read_text()


def files(config):
    return set(open_run(config, NIGHT).folder.files())


def run_ingest(config, **more):
    return run_step("ingest", f"{config.runs_root}/{NIGHT}", config, **more)


@pytest.mark.parametrize("same", [True, False], ids=["same_work", "other_work"])
def test_a_late_writer_changes_nothing(config, step, monkeypatch, same):
    """It was paused in the middle, and another process did the step meanwhile."""
    fast = config if same else config.model_copy(update={"seed": 8})

    def paused(ctx):
        step("ingest", writes("fast"))
        monkeypatch.setattr("pipelines.runner.holding", lambda *_: memory_lock())
        run_ingest(fast)
        return writes("late")(ctx)

    step("ingest", paused)
    if same:
        assert run_ingest(config).headline == "fast"
    else:
        with pytest.raises(InputError, match="Another process finished ingest"):
            run_ingest(config)
    assert read(config) == "fast"
    assert len({path for path in files(config) if path.endswith("rows.txt")}) == 1 + (
        not open_run(config, NIGHT).folder.is_local
    )


class memory_lock:
    def __enter__(self):
        return None

    def __exit__(self, *_):
        return None


def test_work_that_is_done_again_wins_once(config, step, monkeypatch):
    step("ingest", writes("first"))
    run_ingest(config)

    def paused(ctx):
        assert open_run(config, NIGHT).manifest("ingest") is None, "the old one no longer counts"
        step("ingest", writes("second"))
        monkeypatch.setattr("pipelines.runner.holding", lambda *_: memory_lock())
        run_ingest(config, rerun=True)
        return writes("late")(ctx)

    step("ingest", paused)
    assert run_ingest(config, rerun=True).headline == "second"
    assert read(config) == "second"


def test_a_process_that_slept_before_it_began_stops(config, step):
    step("ingest", writes("first"))
    run = open_run(config, NIGHT)
    seen = run.manifest("ingest")
    run_ingest(config)
    with pytest.raises(InputError, match="Another process finished ingest"):
        run.begin("ingest", seen)
    assert read(config) == "first"


def test_a_broken_attempt_leaves_no_manifest(config, step):
    step("ingest", writes("first"))
    run_ingest(config)

    def breaks(ctx):
        raise RuntimeError("power cut")

    step("ingest", breaks)
    with pytest.raises(RuntimeError):
        run_ingest(config, rerun=True)
    assert open_run(config, NIGHT).manifest("ingest") is None
    step("ingest", writes("second"))
    assert not run_ingest(config).reused
    assert read(config) == "second"


def test_many_writers_have_one_winner(bucket):
    """Whole attempts at once, without any lock: the conditional put decides."""
    runs = [open_run(load_config("config/demo.toml", "x", {"runs_root": bucket}), NIGHT) for _ in range(8)]
    attempts = [run.begin("ingest", None) for run in runs]
    won = []

    def publish(number):
        (attempts[number].out / "rows.txt").write_text(str(number))
        manifest = make_manifest(attempt=attempts[number].place, headline=str(number))
        if attempts[number].publish(manifest):
            won.append(number)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [runs[0].manifest("ingest").headline] == [str(number) for number in won]


def test_outputs_are_copied_once_by_digest(config, step, home):
    step("ingest", writes("first"))
    run_ingest(config)
    assert read(config) == read(config) == "first"
    if open_run(config, NIGHT).folder.is_local:
        assert not (home / "cache" / OUTPUTS).exists() or not list((home / "cache" / OUTPUTS).iterdir())
        return
    (entry,) = (home / "cache" / OUTPUTS).glob("[!.]*")
    (entry / "rows.txt").write_text("flipped")
    assert read(config) == "first", "a copy that changed is fetched again"
    docs = open_run(config, NIGHT).artifact(open_run(config, NIGHT).manifest("ingest"), "docs")
    assert (docs / "index.html").read_text() == "first"
    for copy in (home / "cache" / OUTPUTS).glob("[!.]*"):
        os.utime(copy, (0, 0))
    assert trim_cache(home, 1) == [], "this process holds them"


def test_bytes_that_changed_on_the_store_are_refused(bucket, home, step):
    config = load_config("config/demo.toml", home, {"runs_root": bucket})
    step("ingest", writes("first"))
    run_ingest(config)
    run = open_run(config, NIGHT)
    manifest = run.manifest("ingest")
    run.folder.write_bytes(manifest.place(manifest.outputs["rows"]), b"flipped")
    with pytest.raises(IntegrityError, match=r"rows\.txt of ingest was changed"):
        read(config)
    assert not list((home / "cache" / OUTPUTS).glob("[!.]*"))


def test_a_report_has_an_address(bucket, home, step):
    config = load_config("config/demo.toml", home, {"runs_root": bucket})

    def report(ctx):
        (ctx.out / "report.html").write_text("hello")
        return Outcome(headline=ctx.uri_of("report.html"), outputs={"report": "report.html"})

    step("report", report)
    result = run_step("report", f"{bucket}/{NIGHT}", config)
    assert result.headline == report_uri(config, NIGHT)
    with fsspec.open(result.headline) as file:
        assert file.read() == b"hello"


SECRET = "wJalrXUtnFEMIplantedKEY"


def test_a_bucket_that_is_not_there_is_named(bucket, home, step):
    config = load_config("config/demo.toml", home, {"runs_root": "s3://no-such-bucket/runs"})
    with pytest.raises(InputError, match="no bucket no-such-bucket, which runs_root names"):
        run_ingest(config)


def test_a_wrong_key_is_refused_in_words(bucket, home, monkeypatch):
    import s3fs

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    s3fs.S3FileSystem.clear_instance_cache()
    config = load_config("config/demo.toml", home, {"runs_root": bucket})
    with pytest.raises(InputError, match=r"refused access to s3://.* which runs_root names") as caught:
        run_ingest(config)
    assert SECRET not in str(caught.value)


def test_without_credentials_it_says_so(bucket, home, monkeypatch):
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    config = load_config("config/demo.toml", home, {"runs_root": bucket})
    with pytest.raises(InputError, match="No credentials for s3://"):
        run_ingest(config)


def test_a_store_that_stays_away_is_worth_another_try(bucket, home, monkeypatch, capsys):
    import s3fs

    from pipelines.cli.main import main

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    s3fs.S3FileSystem.clear_instance_cache()
    words = ["ingest", "--run-dir", f"{bucket}/{NIGHT}", "--home", str(home), "--config", "config/demo.toml"]
    assert main(words) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"fault: The object store of runs_root ({bucket}/{NIGHT}) does not answer")
    with pytest.raises(UnavailableError):
        Folder(bucket).read_bytes("x")


@pytest.mark.slow
def test_a_store_that_is_away_ends_nothing(object_store_server, bucket, home, step):
    """It is killed between a step's work and its outputs, and falls silent before they are read."""
    config = load_config("config/demo.toml", home, {"runs_root": bucket})
    server, text = object_store_server.server, "x" * 3_000_000

    def interrupted(ctx):
        server.stop(signal.SIGKILL)
        threading.Timer(1, server.start).start()
        return writes(text)(ctx)

    step("ingest", interrupted)
    run_ingest(config)
    server.process.send_signal(signal.SIGSTOP)
    threading.Timer(3, server.process.send_signal, [signal.SIGCONT]).start()
    assert read(config) == text
