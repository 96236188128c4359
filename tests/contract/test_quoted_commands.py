"""Every command line that the docs, help texts, notices and errors quote still parses."""

import importlib.util
from pathlib import Path

import pytest

from gateway import __main__ as gateway
from gateway import dev_token
from pipelines.cli.main import build_parser
from tests.support.quoted import ROOT, commands, make_problem, parser_problem, texts

PLACES = (
    "README.md",
    "CONTRIBUTING.md",
    "Makefile",
    "config",
    "dags",
    "deploy",
    "docs",
    "gateway",
    "pipelines",
    "plugins",
)
NIGHTSHIFT = build_parser()
TEXT = {".md", ".py", ".toml", ".yml", ".j2"}


def files(place: str) -> list[Path]:
    found = (path for top in ROOT.glob(place) for path in (top.rglob("*") if top.is_dir() else [top]))
    return sorted(path for path in found if path.suffix in TEXT or path.name == "Makefile")


def problem(words: list[str]) -> str:
    """What is wrong with a command line; empty if nothing is."""
    if words[0] == "make":
        given = [word.removeprefix("ARGS=").split() for word in words if word.startswith("ARGS=")]
        if words[1:2] == ["serve"] and given:
            return parser_problem(gateway._parser(), given[0])
        return make_problem(words)
    if words[0].endswith("nightshift"):
        return parser_problem(NIGHTSHIFT, words[1:])
    module, arguments = words[2], words[3:]
    if module == "pipelines":
        return parser_problem(NIGHTSHIFT, arguments)
    if module == "gateway":
        return parser_problem(gateway._parser(), arguments)
    if module == "gateway.dev_token":
        return parser_problem(dev_token._parser(), arguments)
    if module == "nightshift.local":  # needs Airflow: tests/dags/test_quoted_local.py
        return ""
    found = importlib.util.find_spec(module)
    runs = found and found.origin and '__name__ == "__main__"' in Path(found.origin).read_text()
    return "" if runs else f"no command {module}"


@pytest.mark.parametrize("place", PLACES)
def test_every_quoted_command_parses(place):
    quoted = [(path, words) for path in files(place) for text in texts(path) for words in commands(text)]
    wrong = {f"{path.relative_to(ROOT)}: {' '.join(words)}": problem(words) for path, words in quoted}
    assert {where: said for where, said in wrong.items() if said} == {}
    assert quoted, "no command is found any more"


@pytest.mark.parametrize(
    "text",
    [
        "Run `nightshift train --epochs 2` first.",
        "See `.venv/bin/nightshift statuses`.",
        "Run `.venv/bin/python -m pipelines nights --from 2026-01-01`.",
        "`nightshift nights --from yesterday --to today` runs them.",
        "`nightshift backtest\n--policies FILE` replays.",
        "```sh\nTOKEN=$(.venv/bin/python -m gateway.dev_token --tenants campus)  # a token\n```\n",
        "```sh\nmake serve   # or: .venv/bin/python -m gateway --port 8001\n```\n",
        "```sh\nmake nightlies\n```\n",
        "`make serve ARGS=\"--port 8001\"`",
        "    python -m pipelines.core.config\n",
        "<code>nightshift alerts-lists</code>",
        "\0 -m pipelines nights --since \0 --to \0 \0",
    ],
)  # fmt: skip
def test_a_command_that_does_not_parse_is_noticed(text):
    assert [said for words in commands(text) if (said := problem(words))]


@pytest.mark.parametrize(
    "text",
    [
        "`python -m pipelines STEP --run-dir URI --config FILE` runs a step; `nightshift rollout-...` moves.",
        "`nightshift backtest --policy FILE [--from DATE] [--to DATE] [--json]`",
        "`nightshift rollout-COMMAND`, `nightshift`, `nightshift --help`, `plugins/nightshift/`",
        '```sh\nmake nightly ARGS="--night 2026-01-31"; make status   # make it short\n```\n',
        "```\npython -m pipelines watch ─> Pushgateway ─> Prometheus\n```\n",
        "\0 -m pipelines nights --from \0 --to \0\0 \0",
        "`nightshift alerts-silence name='Input*' tenant=campus --for 2h --reason \"a known import\"`",
    ],
)
def test_what_parses_is_left_alone(text):
    assert {" ".join(words): problem(words) for words in commands(text) if problem(words)} == {}
