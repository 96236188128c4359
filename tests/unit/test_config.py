from pathlib import Path

import pytest

from pipelines.core.config import load_config, parse_override
from pipelines.core.errors import ConfigError

SHIPPED = sorted(Path("config").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_file_loads(path, home):
    config = load_config(path, home)
    assert config.profile == path.stem
    assert config.path(config.lake_root) == f"{home}/lake"


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
        ("profile = \n", "syntax error"),
        ("[train]\n", "profile"),
    ],
)
def test_bad_settings_are_refused_with_their_place(tmp_path, home, text, words):
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path, text), home)


def test_a_missing_file_says_so(home):
    with pytest.raises(ConfigError, match=r"at nowhere\.toml\. Found No such file"):
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
