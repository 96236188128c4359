"""What code a step uses. A step is done again when this code changes, and not when other code does.

Imports are found in the source, without importing anything. Packages from outside are covered by the lock.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pipelines.core.contract import digest_of
from pipelines.core.files import sha256_of

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipelines", "feature_repo")


def code_digest(step: str) -> str:
    """sha256 over the names and bytes of the files that a step uses."""
    return module_digest(f"pipelines.steps.{step}")


@functools.cache
def module_digest(module: str) -> str:
    """sha256 over the names and bytes of the files that a module uses."""
    files = files_of(module, ROOT)
    return digest_of({path.relative_to(ROOT).as_posix(): sha256_of(path) for path in files})


@functools.cache
def whole_code_digest() -> str:
    """sha256 over all code of the gateway and of the steps: it tells two versions apart."""
    files = sorted(path for folder in ("gateway", "pipelines") for path in (ROOT / folder).rglob("*.py"))
    return digest_of({path.relative_to(ROOT).as_posix(): sha256_of(path) for path in files})


@functools.cache
def lock_digest() -> str:
    """sha256 of the package lock, or "unlocked" where none is shipped beside the code."""
    lock = ROOT / "requirements" / "pipelines.txt"
    return sha256_of(lock) if lock.exists() else "unlocked"


@functools.cache
def git_commit() -> str | None:
    """The checkout's commit, or the one that an image was built from; None where neither is known."""
    shipped = ROOT / "COMMIT"
    if shipped.exists():
        return shipped.read_text(encoding="utf-8").strip()
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def files_of(module: str, root: Path) -> list[Path]:
    """The files below `root` that a module uses, sorted.

    These are its own source, that of every module of `PACKAGES` that it imports directly or indirectly, also
    inside functions, and the other files of these modules' packages, such as templates.
    """
    waiting, sources = [module], dict[Path, str]()
    while waiting:
        for source, name in _sources(waiting.pop(), root):
            if source not in sources:
                sources[source] = name
                waiting += _imports(source, name)
    others = [file for source in sources if source.name == "__init__.py" for file in _others(source.parent)]
    return sorted({*sources, *others})


def _sources(module: str, root: Path) -> Iterator[tuple[Path, str]]:
    """(file, module) of a module and of the packages above it, as importing it runs them all."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        path, name = root.joinpath(*parts[:end]), ".".join(parts[:end])
        for source in (path / "__init__.py", path.with_suffix(".py")):
            if source.is_file():
                yield source, name


def _imports(source: Path, module: str) -> list[str]:
    """Names of what a file imports from `PACKAGES`. In `from a import b`, b may be a module or not."""
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    names = []
    for statement in _statements(ast.parse(source.read_bytes()).body):
        if isinstance(statement, ast.Import):
            names += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            whole = "." * statement.level + (statement.module or "")
            parent = importlib.util.resolve_name(whole, package)
            names += [f"{parent}.{alias.name}" for alias in statement.names]
    return [name for name in names if name.split(".")[0] in PACKAGES]


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements, also those inside others. Expressions hold no import and are passed over."""
    for statement in body:
        yield statement
        for name in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(statement, name, []))
        for branch in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
            yield from _statements(branch.body)


def _others(package: Path) -> Iterator[Path]:
    """The files of a package that are not Python, also in its folders that are no packages themselves."""
    for path in package.iterdir():
        if path.name.startswith((".", "__")) or path.suffix == ".py":
            continue
        if path.is_file():
            yield path
        elif not (path / "__init__.py").exists():
            yield from _others(path)
