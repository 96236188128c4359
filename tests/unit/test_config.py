import ast
import math
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.core import config as package
from pipelines.core.alerts import Cause
from pipelines.core.config import AlertRule, Alerts, Config, Ingest, Watch, load_config, parse_override
from pipelines.core.config.base import Section
from pipelines.core.config.cron import most_runs_a_day
from pipelines.core.config.data import with_kind
from pipelines.core.errors import ConfigError

SHIPPED = sorted(Path("config").glob("*.toml"))
SECTIONS = [
    value for value in vars(package).values() if isinstance(value, type) and issubclass(value, Section)
]
AREAS = sorted(Path(package.__file__).parent.glob("*.py"))
NEEDS_UNIT = re.compile(
    r"(timeout|interval|ttl|window|age|skew|wait|memory|latency|drain|bake|period|delay)$"
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_file_loads(path, home):
    config = load_config(path, home)
    assert config.profile == path.stem
    if path.stem != "cluster":
        assert config.path(config.lake_root) == f"{home}/lake"


def test_a_cluster_keeps_nothing_shared_in_a_home(home):
    config = load_config("config/cluster.toml", home)
    one = load_config("config/local.toml", home)
    roots = ("runs_root", "lake_root", "shared_root", "artifact_root", "keys")
    urls = ("ledger_url", "journal_url", "tracking_uri")
    assert not [name for name in (*roots, *urls) if str(home) in config.path(getattr(config, name))]
    assert all(str(home) in one.path(getattr(one, name)) for name in (*roots, *urls))


@pytest.mark.parametrize("kind", ["choose", "extract", "generate"])
def test_a_starting_profile_is_of_its_kind_for_own_logs(kind, home):
    """Each states the kind's own settings, reads files, and has nothing of the samples."""
    path = Path(f"config/{kind}.toml")
    config, demo = load_config(path, home), load_config("config/demo.toml", home)
    assert config.task.kind == kind
    assert bool(config.task.labels) == (kind == "choose")
    assert bool(config.task.json_schema) == (kind == "extract")
    assert config.ingest.kind == "files"
    assert config.register_.name != demo.register_.name
    assert config.evaluate.suite != demo.evaluate.suite
    assert config.train.max_length_tokens >= config.model.max_prompt_tokens + config.model.max_new_tokens
    assert "sample" not in path.read_text()


def test_there_are_shipped_files():
    assert SHIPPED


def write(tmp_path, text):
    path = tmp_path / "x.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("profile = 'x'\n[train]\nepoch = 2\n", "train.epoch"),
        ("profile = 'x'\n[train]\nepochs = 0\n", "greater than 0"),
        ("profile = 'x'\n[gate]\nalpha = 1.5\n", "less than or equal to 1"),
        ("profile = \n", "is not TOML"),
        ("profile = 'x'\n[evaluate]\npool = 'p.jsonl'\n", "the first night then decides alone"),
        ("profile = 'x'\n[gate]\nmax_nights_waiting = 5\n", "there is nothing to measure a candidate on"),
        ("[train]\n", "profile"),
    ],
)
def test_bad_settings_are_refused_with_their_place(tmp_path, home, text, words):
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path, text), home)


def numbers_of(section):
    """The settings that are one number with a fraction, or none."""
    kinds = (float, float | None)
    return [name for name, field in section.model_fields.items() if field.annotation in kinds]


EVERY_SECTION = sorted(Section.__subclasses__(), key=lambda section: section.__name__)
NUMBERS = [(section, name) for section in EVERY_SECTION for name in numbers_of(section)]
SIGNED = {"good_from", "bad_to"}


def faults(section, name, value):
    """What is said of one setting."""
    try:
        section(**{name: value})
    except ValidationError as error:
        return [one["msg"] for one in error.errors() if one["loc"] == (name,)]
    return []


@pytest.mark.parametrize(("section", "name"), NUMBERS, ids=lambda one: getattr(one, "__name__", one))
def test_a_number_is_finite_and_in_bounds(section, name):
    assert all(faults(section, name, value) for value in (math.nan, math.inf, -math.inf))
    assert bool(faults(section, name, -1.5)) == (name not in SIGNED)


def test_many_numbers_are_settings():
    assert len(NUMBERS) > 80
    assert {name for _, name in NUMBERS} >= SIGNED | {"learning_rate", "budget_cpu_hours_30d"}


@pytest.mark.parametrize("body", ["temperature = nan", "stop = [inf]", "until = 2026-01-01"])
def test_what_json_cannot_hold_is_asked_of_no_judge(tmp_path, home, body):
    with pytest.raises(ConfigError, match=r"judge\.body"):
        load_config(write(tmp_path, f"profile = 'x'\n[judge]\nbody = {{{body}}}\n"), home)


@pytest.mark.parametrize("url", ["http://[::1", "http://h:99999", "http://h:x", "h:8001", "http://h?a=b"])
@pytest.mark.parametrize(
    "setting", ["serving.url", "evaluate.url", "judge.url", "safety.moderation.url", "gateway.url"]
)
def test_what_is_no_address_is_refused(tmp_path, home, setting, url):
    section, _, key = setting.rpartition(".")
    with pytest.raises(ConfigError, match=f"{setting}: .* is no address of a server"):
        load_config(write(tmp_path, f"profile = 'x'\n[{section}]\n{key} = '{url}'\n"), home)


@pytest.mark.parametrize("url", ["redis://[::1", "redis://h:x", "http://h", "redis://"])
def test_what_is_no_redis_is_refused(tmp_path, home, url):
    with pytest.raises(ConfigError, match="is not the address of a Redis"):
        load_config(write(tmp_path, f"profile = 'x'\n[gateway]\nredis_url = '{url}'\n"), home)


@pytest.mark.parametrize("wrong", ["task = 'a'", "task = 1", "task = [1]", "[[task]]\nkind = 'x'"])
def test_an_override_of_what_is_no_table_is_refused(tmp_path, home, wrong):
    path = write(tmp_path, f"profile = 'x'\n{wrong}\n")
    with pytest.raises(ConfigError, match=r"task\.kind cannot be set: task is"):
        load_config(path, home, {"task.kind": "choose"})


def test_a_missing_file_says_so(home):
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read: No such file"):
        load_config("nowhere.toml", home)


def test_overrides_win_and_are_typed(tmp_path, home):
    overrides = dict(
        parse_override(t)
        for t in ["train.epochs=3", "decide.force=true", "decide.cause=alert:latency", "seed=9"]
    )
    config = load_config(write(tmp_path, "profile = 'x'\n[train]\nepochs = 1\n"), home, overrides)
    assert (config.train.epochs, config.decide.force, config.decide.cause, config.seed) == (
        3,
        True,
        "alert:latency",
        9,
    )


@pytest.mark.parametrize("bad", ["train.epochs", "=3"])
def test_an_override_without_a_value_is_refused(bad):
    with pytest.raises(ConfigError, match="override"):
        parse_override(bad)


def test_settings_cannot_be_changed(home):
    config = load_config(SHIPPED[0], home)
    with pytest.raises(ValueError, match="frozen"):
        config.train.epochs = 5


def keys_and_comments(path):
    """(class.key, whether a comment stands on its lines or the one above) of every setting in a file."""
    text = path.read_text()
    lines = text.splitlines()
    for section in (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)):
        for key in (node for node in section.body if isinstance(node, ast.AnnAssign)):
            places = [lines[key.lineno - 2].strip()[:1], *lines[key.lineno - 1 : key.end_lineno]]
            yield f"{section.name}.{key.target.id}", any("#" in place for place in places)


@pytest.mark.parametrize("path", AREAS, ids=lambda p: p.stem)
def test_every_setting_is_explained(path):
    sections = {
        "alerts",
        "columns",
        "data",
        "evaluation",
        "judge",
        "model",
        "operations",
        "pods",
        "profile",
        "rollout",
        "safety",
        "serving",
        "training",
    }
    found = dict(keys_and_comments(path))
    assert bool(found) == (path.stem in sections)
    explained_by_their_section = {f"Config.{name}" for name in Config.model_fields if name not in PLAIN}
    assert {key for key, said in found.items() if not said} <= explained_by_their_section


PLAIN = {name for name, field in Config.model_fields.items() if not issubclass(type(field.default), Section)}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: s.__name__)
def test_names_of_times_and_sizes_hold_their_unit(section):
    unit_in_value = {"image", "memory"}  # no age; an amount as Kubernetes writes it, such as "64Gi"
    assert [name for name in section.model_fields if NEEDS_UNIT.search(name)] in ([], sorted(unit_in_value))
    assert section.__doc__


def test_every_cause_of_an_alert_has_a_rule():
    rules = {name for name, field in Alerts.model_fields.items() if isinstance(field.default, AlertRule)}
    assert rules == set(Cause)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ({}, "sample"),
        ({"kind": "gateway"}, "gateway"),
        ({"source": "s3://logs/dt={night}/*.parquet"}, "files"),
        ({"kind": "files", "source": "/logs/*.jsonl"}, "files"),
    ],
)
def test_where_interactions_come_from(written, kind):
    settings = Ingest.model_validate(written)
    assert (settings.kind, settings.source) == (kind, written.get("source", ""))
    assert Ingest.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ('source = "gateway"', 'replace source = "gateway" by kind = "gateway"'),
        ('kind = "files"\nsource = "gateway"', 'by kind = "gateway"'),
        ('source = "{home}/sample/interactions/dt={night}/*.parquet"', 'by kind = "sample"'),
        ('kind = "files"', "needs a source"),
        ('kind = "sample"\nsource = "/logs/*.jsonl"', 'remove source, or set kind = "files"'),
        ('kind = "gateway"\nsource = "/logs/*.jsonl"', 'remove source, or set kind = "files"'),
    ],
)
def test_a_source_that_does_not_fit_says_what_to_write(tmp_path, home, written, advice):
    profile = write(tmp_path, f"profile = 'x'\n[ingest]\n{written}\n")
    with pytest.raises(ConfigError, match=re.escape(advice)):
        load_config(profile, home)


@pytest.mark.parametrize(
    ("recorded", "kind", "source"),
    [
        ("gateway", "gateway", ""),
        ("{home}/sample/interactions/dt={night}/*.parquet", "sample", ""),
        ("/logs/*.jsonl", "files", "/logs/*.jsonl"),
    ],
)
def test_settings_that_old_manifests_recorded_get_a_kind(recorded, kind, source):
    old = {"source": recorded, "late_days": 2, "memory_mib": 512, "max_text_bytes": 100}
    new = with_kind(old)
    assert new == old | {"kind": kind, "source": source}
    assert Ingest.model_validate(new).kind == kind
    assert with_kind(new) == new


@pytest.mark.parametrize(
    ("schedule", "runs"),
    [
        ("0 * * * *", 24), ("@hourly", 24), ("@daily", 1), ("0 2 * * *", 1), ("*/15 8-18 * * 1-5", 44),
        ("5,35 */6 * * *", 8), ("50/20 0-4/2,22 * * *", 4), ("* * * * *", 1440),
    ],
)  # fmt: skip
def test_runs_of_a_schedule_are_counted(schedule, runs):
    assert most_runs_a_day(schedule) == runs
    assert Watch(schedule=schedule).looks_per_day == runs


@pytest.mark.parametrize("schedule", ["@often", "x * * * *", "0 99 * * *", "5-1 * * * *"])
def test_a_schedule_that_cannot_be_counted_is_refused(schedule):
    with pytest.raises(ValueError, match="schedule"):
        Watch(schedule=schedule)


def test_looks_by_hand_share_the_day_like_hourly_ones(tmp_path, home):
    assert Watch(schedule="").looks_per_day == 24
    with pytest.raises(ConfigError, match="remove looks_per_day"):
        load_config(write(tmp_path, "profile = 'x'\n[watch]\nlooks_per_day = 4\n"), home)


@pytest.mark.parametrize("name", ["50%25 off", "q?x", "home[1]", "st*r"])
def test_a_home_that_databases_misread_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"has . in its path"):
        load_config(SHIPPED[0], tmp_path / name)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("[]", "task.labels is empty"),
        ('["a", "A"]', "'a' and 'A' are one label"),
        ('["a", "b", "a."]', "'a' and 'a.' are one label"),
        ('["a", ""]', "'' is no label"),
        ('["a", "?"]', "'?' is no label"),
        ('["a", " b"]', "remove the space"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(tmp_path, home, labels, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_config(write(tmp_path, f"profile = 'x'\n[task]\nlabels = {labels}\n"), home)


def test_a_label_may_begin_another(tmp_path, home):
    config = load_config(write(tmp_path, "profile = 'x'\n[task]\nlabels = ['yes', 'yes please']\n"), home)
    assert config.task.labels == ("yes", "yes please")


@pytest.mark.parametrize("kind", ['kind = "gateway"', 'source = "/logs/*.jsonl"'])
def test_only_the_sample_has_a_models_name(tmp_path, home, kind):
    assert load_config(write(tmp_path, "profile = 'x'\n"), home).register_.name == "department-router"
    with pytest.raises(ConfigError, match=r"cannot be used: register\.name is not set"):
        load_config(write(tmp_path, f"profile = 'x'\n[ingest]\n{kind}\n"), home)
    named = write(tmp_path, f"profile = 'x'\n[ingest]\n{kind}\n[register]\nname = 'mine'\n")
    assert load_config(named, home).register_.name == "mine"


@pytest.mark.parametrize(
    ("setting", "written"),
    [
        ("ledger_url", 'ledger_url = "postgresql+psycopg://writer:pw@db/nightshift"'),
        ("lake_root", 'lake_root = "s3://AKIA:pw@bucket/lake"'),
        ("journal_url", 'journal_url = "postgresql+psycopg://writer:p/w:x@db/nightshift"'),
        ("tracking_uri", 'tracking_uri = "postgresql+psycopg://writer@db/mlflow?sslpassword=pw"'),
        ("features.online_url", '[features]\nonline_url = "rediss://cache:6379/0?password=pw"'),
        ("gateway.redis_url", '[gateway]\nredis_url = "redis://:pw@cache:6379/0"'),
    ],
)
def test_a_password_in_an_address_is_refused(tmp_path, home, setting, written):
    file = tmp_path / "profile.toml"
    file.write_text(f'profile = "t"\n{written}\n')
    with pytest.raises(ConfigError, match=f"{setting} holds a password") as refused:
        load_config(file, home)
    assert "pw" not in str(refused.value).replace("password", "").replace("PGPASSFILE", "")


@pytest.mark.parametrize("base", ["oci://registry/model:1@sha256:ab", "s3://bucket/a@b:c", "hub/model@main"])
def test_what_only_looks_like_a_password_is_fine(tmp_path, home, base):
    file = tmp_path / "profile.toml"
    file.write_text(f'profile = "t"\n[model]\nbase = "{base}"\n')
    assert load_config(file, home).model.base == base


def test_an_address_with_a_user_alone_is_fine(tmp_path, home):
    file = tmp_path / "profile.toml"
    file.write_text('profile = "t"\nledger_url = "postgresql+psycopg://writer@db/nightshift"\n')
    assert load_config(file, home).ledger_url == "postgresql+psycopg://writer@db/nightshift"
