"""Command lines of `python -m nightshift.local` and `make nightly` that texts quote still parse."""

import shlex

import pytest
from nightshift.local.main import _parser

from tests.support.quoted import ROOT, commands, parser_problem, texts

FILES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "Makefile", *ROOT.glob("config/*.toml")]
FILES += ROOT.glob("plugins/nightshift/**/*.py")


def arguments(words):
    """What a command line hands to `nightshift.local`; None where it is another program."""
    if words[0] == "make":
        given = [word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")]
        return [words[1], *shlex.split(given[0])] if words[1:2] == ["nightly"] and given else None
    return words[3:] if words[1:3] == ["-m", "nightshift.local"] else None


def problems(text):
    asked = [given for words in commands(text) if (given := arguments(words)) is not None]
    return [said for given in asked if (said := parser_problem(_parser(), given))]


def test_every_quoted_command_parses():
    assert {str(path): said for path in FILES for text in texts(path) if (said := problems(text))} == {}


@pytest.mark.parametrize(
    "text",
    ["`python -m nightshift.local nights`", "`make nightly ARGS=\"--night tomorrow\"`",
     "```sh\nmake nightly ARGS=\"--epoch 2 --rank 8 --dry\"   # \nmake nightly ARGS=\"--lora 8\"\n```\n"],
)  # fmt: skip
def test_a_command_that_does_not_parse_is_noticed(text):
    assert problems(text)
