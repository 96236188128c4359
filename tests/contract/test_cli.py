"""What a person sees: help, answers, and one clear sentence for a mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli.main import GROUPS, build_parser, main
from pipelines.core.contract import CLOSING, NIGHTLY
from pipelines.stores.ledger import Ledger

DEMO = ("--config", "config/demo.toml")


def pipelines(home, *words):
    command = [sys.executable, "-m", "pipelines", *words, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_names_every_command(home):
    shown = subprocess.run(
        [sys.executable, "-m", "pipelines", "--help"], capture_output=True, text=True, check=True
    )
    shown_at_once = subprocess.run(
        [sys.executable, "-m", "pipelines"], capture_output=True, text=True, check=True
    )
    assert shown_at_once.stdout == shown.stdout
    lines = shown.stdout.splitlines()
    for command in (*NIGHTLY, *CLOSING, "nights", "status", "verify", "sample", "prepare", "deliver"):
        assert any(line.startswith(f"  {command} ") for line in lines)
    assert [line for line in lines if line.endswith(":")] == [
        *(f"{group}:" for group in GROUPS),
        "options:",
        "Example:",
    ]
    assert max(map(len, lines)) <= 110


def test_every_command_has_help_of_its_own():
    parser = build_parser()
    (commands,) = (action for action in parser._actions if action.dest == "command")
    for name, command in commands.choices.items():
        assert command.prog == f"nightshift {name}"
        assert command.description
        options = [action for action in command._actions if action.dest != "help"]
        assert all(option.help for option in options if option.dest != "shell")


def test_the_console_command_is_installed():
    """`make setup` puts it beside the interpreter."""
    command = Path(sys.executable).parent / "nightshift"
    shown = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("usage: nightshift")


def test_torch_is_told_to_wait_quietly(home, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert main(["status", "--home", str(home)]) == 2
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell, capsys):
    pytest.importorskip("argcomplete")
    assert main(["completion", shell]) == 0
    assert "nightshift" in capsys.readouterr().out


@pytest.mark.slow
def test_own_logs_are_prepared_without_the_sample(home):
    done = pipelines(home, "prepare", "--config", "config/local.toml")
    assert done.returncode == 0, done.stderr
    assert {"ledger.db", "mlflow.db"} <= {path.name for path in home.iterdir()}
    assert not (home / "sample").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("status", "--config", "config/missing.toml"), "config/missing.toml cannot be read"),
        (("status", *DEMO, "--set", "train.epoch=1"), "train.epoch"),
        (("train", *DEMO, "--run-dir", "RUNS/2026-01-01"), "Run decide first"),
        (("ingest", *DEMO, "--run-dir", "RUNS/yesterday"), "does not begin with its night"),
        pytest.param(
            ("ingest", *DEMO, "--run-dir", "RUNS/2026-11-22"),
            "2026-11-22 is not a night of the sample",
            marks=pytest.mark.slow,  # it loads torch
        ),
        (("status", "--config", "config"), "The configuration file config cannot be read"),
        (("status", *DEMO, "--set", "schedule=every night"), "schedule"),
        (("deliver", *DEMO, "--night", "2026-01-01"), "gateway's journal"),
        (("nights", *DEMO, "--from", "2026-01-09", "--to", "2026-01-08"), "Swap them"),
    ],
)
def test_a_mistake_gets_one_sentence(home, words, expected):
    done = pipelines(home, *(word.replace("RUNS", f"{home}/runs") for word in words))
    assert done.returncode == 2
    assert expected in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_fault_is_left_in_the_steps_folder(home):
    pipelines(home, "train", *DEMO, "--run-dir", f"{home}/runs/2026-01-01")
    fault = json.loads((home / "runs/2026-01-01/train/fault.json").read_text())
    assert fault["error"] == "InputError"
    assert "Run decide first" in fault["message"]


@pytest.mark.slow
def test_status_and_verify_on_a_fresh_home(home):
    for command in ("status", "verify"):
        nowhere = pipelines(home / "mistyped", command, *DEMO)
        assert nowhere.returncode == 2
        assert "no ledger in" in nowhere.stderr
        assert not (home / "mistyped").exists()
    Ledger(f"sqlite:///{home}/ledger.db")
    status = pipelines(home, "status", *DEMO)
    assert "no night decided yet" in status.stdout, status.stderr
    assert json.loads(pipelines(home, "status", *DEMO, "--json").stdout) == {
        "live_adapter": None,
        "candidate": None,
        "rollout": None,
        "held_move": "",
        "left_behind": [],
        "nights": [],
    }
    unknown = pipelines(home, "status", *DEMO, "--run-id", "nope")
    assert unknown.returncode == 2
    assert "There is no run nope." in unknown.stderr
    assert "0 problems" in pipelines(home, "verify", *DEMO).stdout
