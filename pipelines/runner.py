"""Run one step: read the inputs through their manifests, do the work, write the manifest last.

A step that finds its own manifest with the same fingerprint returns at once. A run that has its decision
record is closed: its steps return what they recorded. Retries, preemption and replays are therefore safe.
"""

from __future__ import annotations

import importlib
import logging
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from pipelines.core.cache import OUTPUTS
from pipelines.core.code import code_digest, git_commit, lock_digest
from pipelines.core.config import Config
from pipelines.core.contract import (
    CLOSING,
    FAULT_NAME,
    MANIFEST_NAME,
    NIGHTLY,
    Artifact,
    Fault,
    Manifest,
    Metric,
    Usage,
    Verdict,
    fingerprint,
)
from pipelines.core.errors import InputError, NightshiftError
from pipelines.core.facts.reading import F, Facts, as_json, facts_of
from pipelines.core.files import sha256_of
from pipelines.core.home import cache_folder
from pipelines.core.results import StepResult
from pipelines.observability.tracing import command_span
from pipelines.stores.attempts import overtaken
from pipelines.stores.locks import holding, refuse_lost
from pipelines.stores.runs import Run

log = logging.getLogger("nightshift")
BROKEN = " broken-"  # and a number: the ledger's name of an attempt that broke


@dataclass(frozen=True)
class Outcome:
    """What a step's `run` returns; the runner turns it into a manifest."""

    headline: str
    verdict: Verdict = Verdict.PROCEED
    reasons: tuple[str, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)  # name -> file or folder inside ctx.out
    metrics: dict[str, tuple[float, str]] = field(default_factory=dict)  # name -> (value, unit)
    facts: Facts | None = None
    readings: Facts | None = None  # measured facts: another run reads other values


@dataclass(frozen=True)
class Clock:
    """When a step began. Importing its libraries counts as its time."""

    started_at: datetime
    started: float
    cpu_seconds: float

    @classmethod
    def start(cls) -> Clock:
        return cls(datetime.now(UTC), time.monotonic(), _cpu_seconds())


@dataclass(frozen=True)
class Context:
    """What a step may touch."""

    run: Run
    step: str
    config: Config
    inputs: dict[str, Manifest]
    identity: str  # the fingerprint
    out: Path
    attempt: str = ""  # the outputs' folder inside the step's
    clock: Clock = field(default_factory=Clock.start)
    ends: ExitStack = field(default_factory=ExitStack)  # closed when the step ends, however it does

    @property
    def night(self) -> date:
        return self.run.night

    @property
    def home(self) -> Path:
        return Path(self.config.home)

    def facts(self, model: type[F]) -> F:
        """What an earlier step wrote down. Raises IntegrityError when it does not fit the model."""
        return facts_of(self.inputs, model)

    def read(self, step: str, name: str) -> Path:
        """Local path of an earlier step's output, its bytes checked against the manifest."""
        return self.run.artifact(self.inputs[step], name)

    def uri_of(self, path: str) -> str:
        """Where a file of `out` will lie."""
        return "/".join(part for part in (self.run.folder.uri, self.step, self.attempt, path) if part)

    def usage(self) -> Usage:
        """What this process used since the step began."""
        return _usage(self.clock)

    def scratch(self) -> Path:
        """A local folder that survives a kill; another fingerprint gets another folder."""
        path = self.home / "scratch" / self.run.run_id / self.step / self.identity[:16]
        path.mkdir(parents=True, exist_ok=True)
        return path


def run_step(step: str, run_uri: str, config: Config, rerun: bool = False) -> StepResult:
    """Run one step of a night, or return its finished manifest. Raises NightshiftError on a fault."""
    with command_span(step) as span:
        result = _run_step(step, run_uri, config, rerun)
        span.set_attributes(
            {
                "nightshift.run_id": Run(run_uri).run_id,
                "nightshift.verdict": result.verdict,
                "nightshift.seconds": result.seconds,
                "nightshift.reused": result.reused,
            }
        )
    return result


def _run_step(step: str, run_uri: str, config: Config, rerun: bool) -> StepResult:
    run = Run(run_uri, cache_folder(config.home, OUTPUTS))
    with holding(config, f"{run.run_id}.{step}"):
        clock = Clock.start()
        existing = run.manifest(step)
        if existing and run.manifest(CLOSING[-1]) and not rerun:
            return _result(run, existing, clock.started, reused=True)
        inputs = _read_inputs(run, step)
        module = importlib.import_module(f"pipelines.steps.{step}")
        context = Context(run, step, config, inputs, "", Path())
        externals = module.external_inputs(context)
        digests = {**{name: manifest.digest for name, manifest in inputs.items()}, **externals}
        settings = _settings(module, config)
        identity = fingerprint(step, {"seed": config.seed, **settings}, digests, code_digest(step))
        if existing and existing.fingerprint == identity and not rerun:
            return _result(run, existing, clock.started, reused=True)
        attempt = run.begin(step, existing)
        context = Context(run, step, config, inputs, identity, attempt.out, attempt.place, clock)
        try:
            with _charged(context):
                manifest = _execute(module, context, settings, digests)
                refuse_lost(config)
                mine = attempt.publish(manifest)
            return _result(run, manifest if mine else _winner(run, manifest), clock.started, reused=not mine)
        finally:
            attempt.give_up()


def _winner(run: Run, mine: Manifest) -> Manifest:
    """The manifest of the process that was faster, if it did the same work. Raises InputError otherwise."""
    winner = run.manifest(mine.step)
    if winner is None or winner.fingerprint != mine.fingerprint:
        raise overtaken(mine.step)
    log.warning("%s: another process finished the same work first, and its result is taken", mine.step)
    return winner


@contextmanager
def _charged(context: Context) -> Iterator[None]:
    """Put the cost of a night's step into the ledger as it ends, also when it breaks.

    A night that is never decided has cost something too. Each broken attempt has a row of its own.
    """
    outcome = BROKEN
    try:
        yield
        outcome = ""
    finally:
        if context.step in NIGHTLY:
            _charge(context, outcome, context.usage())


def _charge(context: Context, outcome: str, usage: Usage) -> None:
    from pipelines.stores import open_ledger
    from pipelines.stores.ledger.costs import cost_row

    ledger, run = open_ledger(context.config), context.run
    attempts = sum(row["step"].startswith(context.step + BROKEN) for row in ledger.costs(run.run_id))
    name = f"{context.step}{outcome}{attempts + 1}" if outcome else context.step
    ledger.add_cost(cost_row(run.run_id, run.night, name, usage, context.config.cost))


def record_fault(step: str, run_uri: str, error: BaseException) -> None:
    """Write a fault's message to the step's folder, for the report and for people."""
    fault = Fault(step=step, error=type(error).__name__, message=str(error), at=datetime.now(UTC))
    data = fault.model_dump_json(indent=1).encode()
    try:
        Run(run_uri).folder.write_bytes(f"{step}/{FAULT_NAME}", data)
    except NightshiftError as away:  # the fault itself is told on the command line all the same
        log.warning("the fault of %s is not in the run's folder: %s", step, away)


def _read_inputs(run: Run, step: str) -> dict[str, Manifest]:
    if step in CLOSING:
        return {name: manifest for name, manifest in run.manifests().items() if name in NIGHTLY}
    inputs = {}
    for need in NIGHTLY[step]:
        manifest = run.manifest(need)
        if manifest is None:
            raise InputError(f"{step} cannot run: {need} has not finished in this run.", f"Run {need} first.")
        if manifest.verdict is not Verdict.PROCEED:
            raise InputError(
                f"{step} cannot run: {need} ended with {manifest.verdict} ({'; '.join(manifest.reasons)}).",
                f"There is nothing to do for {step} in this run.",
            )
        inputs[need] = manifest
    return inputs


def _settings(module: ModuleType, config: Config) -> dict[str, Any]:
    every = config.model_dump(mode="json", by_alias=True)
    return {section: every[section] for section in module.SETTINGS}


def _execute(
    module: ModuleType, context: Context, settings: dict[str, Any], digests: dict[str, str]
) -> Manifest:
    with context.ends:
        outcome: Outcome = module.run(context)
    outputs = _digest_outputs(context.out, outcome.outputs)
    return Manifest(
        run_id=context.run.run_id,
        night=context.night,
        step=context.step,
        attempt=context.attempt,
        fingerprint=context.identity,
        verdict=outcome.verdict,
        reasons=outcome.reasons,
        headline=outcome.headline,
        inputs=digests,
        outputs=outputs,
        metrics={name: Metric(value=value, unit=unit) for name, (value, unit) in outcome.metrics.items()},
        facts=as_json(outcome.facts),
        readings=as_json(outcome.readings),
        settings=settings,
        seed=context.config.seed,
        code_digest=code_digest(context.step),
        lock_digest=lock_digest(),
        git_commit=git_commit(),
        usage=context.usage(),
    )


def _digest_outputs(out: Path, outputs: dict[str, str]) -> dict[str, Artifact]:
    artifacts = {}
    for name, relative in outputs.items():
        path = out / relative
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            key = name if file == path else f"{name}/{file.relative_to(path).as_posix()}"
            artifacts[key] = Artifact(
                path=file.relative_to(out).as_posix(), sha256=sha256_of(file), size_bytes=file.stat().st_size
            )
    return artifacts


def _result(run: Run, manifest: Manifest, started: float, reused: bool) -> StepResult:
    return StepResult(
        step=manifest.step,
        verdict=manifest.verdict,
        reasons=manifest.reasons,
        headline=manifest.headline,
        manifest_uri=f"{run.folder.uri}/{manifest.step}/{MANIFEST_NAME}",
        seconds=round(time.monotonic() - started, 3),
        reused=reused,
    )


def _usage(clock: Clock) -> Usage:
    """What the process used since the step began."""
    seconds = time.monotonic() - clock.started
    return Usage(
        started_at=clock.started_at,
        seconds=round(seconds, 3),
        cpu_seconds=round(_cpu_seconds() - clock.cpu_seconds, 3),
        gpu_seconds=round(seconds * _gpus_held(), 3),
        peak_memory_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )


def _gpus_held() -> int:
    """GPUs on which this process has memory. Whoever holds one pays for it, busy or not."""
    torch: Any = sys.modules.get("torch")  # a step without torch holds none, and does not load it for this
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return 0
    return sum(torch.cuda.memory_reserved(gpu) > 0 for gpu in range(torch.cuda.device_count()))


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
