"""Find the command lines that texts quote, and say what is wrong with them."""

from __future__ import annotations

import argparse
import ast
import io
import re
import shlex
import tokenize
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILLED_IN = "\0"  # stands for the value of an f-string or a template
MODULE = rf"[^\s`(]*(?:python|{FILLED_IN}) -m (?:pipelines|gateway|nightshift)(?:\.\w+)*"
PROGRAM = rf"(?P<program>(?:\.venv/bin/)?nightshift|{MODULE}|make)(?=\s|$)"
START = re.compile(rf"(?<!namespace)(?:^|[\s(]){PROGRAM}")  # a namespace of Kubernetes is no program
PLACEHOLDER = re.compile(rf"[^-]*{FILLED_IN}.*|[A-Z][A-Z_-]*")
DUMMY = {date.fromisoformat: "2026-01-01", int: "1", float: "1"}
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def texts(path: Path) -> Iterator[str]:
    """The texts of a file that may quote a command: of Python its strings and comments, else all of it."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield re.sub(r"\{\{.*?\}\}", FILLED_IN, source)
        for target, arguments in re.findall(r"^([a-z-]+):.*## .*(ARGS=\".*?\")", source, re.MULTILINE):
            yield f"`make {target} {arguments}`"
        return
    tree = ast.parse(source)
    parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(v.value if isinstance(v, ast.Constant) else FILLED_IN for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield node.value
    comments = tokenize.generate_tokens(io.StringIO(source).readline)
    yield from (token.string for token in comments if token.type == tokenize.COMMENT)


def commands(text: str) -> list[list[str]]:
    """The words of each command line in a text: in backticks, <code>, a fence, an indented line, or alone."""
    fenced = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`]+)`|<code>(.+?)</code>", rest, re.DOTALL)
    lines = [line for block in fenced for line in block.splitlines()]
    lines += re.findall(r"^(?: {4}|\t@?)(\S.*)$", rest, re.MULTILINE)
    quoted = [" ".join("".join(span).split()) for span in spans]
    alone = [rest] if re.match(MODULE, rest) and "\n" not in rest else []
    return [words for line in quoted + lines + alone for words in _in_line(line)]


def _in_line(line: str) -> Iterator[list[str]]:
    code, _, comment = line.partition(" #")
    for part, is_code in ((code, True), (comment, False)):
        for piece in re.split(r"&&|;|\||─>|\$\(|\)", part):
            found = START.search(piece)
            if not found or (found["program"] == "make" and not _leads(piece, found, is_code)):
                continue
            yield shlex.split(piece[found.start("program") :].replace("[", "").replace("]", ""))


def _leads(piece: str, found: re.Match[str], is_code: bool) -> bool:
    """`make` is a common word: it is the program only where nothing but assignments stands before it."""
    return (
        is_code and re.fullmatch(r"(?:\w+=\S*\s+|\$ )*", piece[: found.start("program")].lstrip()) is not None
    )


def make_problem(words: list[str]) -> str:
    """What is wrong with `make TARGET ...`; empty if nothing is."""
    unknown = [word for word in words[1:] if "=" not in word and word not in TARGETS and word != "TARGET"]
    return f"no target {', '.join(unknown)}" if unknown else ""


def parser_problem(parser: argparse.ArgumentParser, words: list[str]) -> str:
    """What a parser says against these arguments; empty if nothing. A bare command name is only looked up."""
    known = _subcommands(parser)
    if not words:
        return ""
    if known:
        if words[0].endswith("...") and any(name.startswith(words[0][:-3]) for name in known):
            return ""
        words = [re.sub(r"^(\w+-)?[A-Z]+$", lambda m: _example(known, m[1] or ""), words[0]), *words[1:]]
        if words[0] in known and words[1:] in ([], ["OPTIONS"]):
            return ""
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            parser.parse_args(_with_values(known.get(words[0], parser), words))
    except SystemExit as ended:
        return said.getvalue().strip().splitlines()[-1] if ended.code else ""
    return ""


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def _example(known: dict[str, argparse.ArgumentParser], prefix: str) -> str:
    return next((name for name in known if name.startswith(prefix or "ingest")), "")


def _with_values(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Placeholders become values of the option's type; those that follow no option stand for more options."""
    options = {name: action for action in parser._actions for name in action.option_strings}
    filled: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        option = options.get(before)
        takes_value = option is not None and option.nargs != 0
        if not PLACEHOLDER.fullmatch(word):
            filled.append(word)
        elif takes_value:
            assert option is not None
            filled.append(DUMMY.get(option.type, "x"))  # type: ignore[arg-type]
        elif FILLED_IN not in word and word != "OPTIONS":
            filled.append("x")
    return filled
