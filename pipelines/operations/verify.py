"""`nightshift verify`: re-hash what the manifests name, check signatures and the ledger's chain."""

from __future__ import annotations

from pipelines.core.config import Config
from pipelines.core.contract import Manifest
from pipelines.core.errors import InputError, IntegrityError
from pipelines.data import open_lake
from pipelines.models import open_registry
from pipelines.stores import has_ledger, open_ledger, open_run, run_ids
from pipelines.stores.ledger import Decision, Ledger
from pipelines.stores.retention import removed_files
from pipelines.stores.runs import Run
from pipelines.stores.signer import open_signer


def verify(config: Config, accept_end: bool = False) -> int:
    """Print a line for each problem, and a summary. Returns exit status 0 without problems, else 2.

    With `accept_end` the ledger's present end is taken for its true one first.
    """
    if not has_ledger(config):
        raise InputError(
            f"There is no ledger in {config.home}.", "Name the home with --home or NIGHTSHIFT_HOME."
        )
    ledger = open_ledger(config)
    if accept_end:
        ledger.accept_end()
    links, problems = _chain(ledger)
    decisions = ledger.decisions()
    removed = removed_files(ledger)
    files, gone, in_runs = _runs(config, {decision.run_id for decision in decisions}, removed)
    problems += in_runs + _rewritten(ledger, decisions)
    for decision in decisions:
        problems += _decision_problems(decision, config)
    problems += _adapter_problems(config)
    problems += [f"{path}: its bytes changed" for path in open_lake(config).changed()]
    for problem in problems:
        print(f"BROKEN  {problem}")
    if gone:
        print(f"{gone} files were removed on purpose, as the ledger says")
    print(f"{links} ledger links, {len(decisions)} signed decisions, {files} files: {len(problems)} problems")
    return 2 if problems else 0


def _chain(ledger: Ledger) -> tuple[int, list[str]]:
    """How many links the ledger's chain has, or what breaks it."""
    try:
        return ledger.verify(), []
    except IntegrityError as error:
        return 0, [f"ledger: {error}"]


def _rewritten(ledger: Ledger, decisions: list[Decision]) -> list[str]:
    """Decisions that were signed on a link that the chain does not have: earlier rows were rewritten."""
    hashes = ledger.hashes()
    return [
        f"decision {decision.run_id}: the ledger has other rows now than when it was signed"
        for decision in decisions
        if decision.ledger_head not in hashes
    ]


def _runs(config: Config, decided: set[str], removed: set[tuple[str, str]]) -> tuple[int, int, list[str]]:
    """How many output files the runs name, how many were removed on purpose, and what is wrong."""
    files, gone, problems = 0, 0, []
    for run_id in run_ids(config):
        run, found = open_run(config, run_id), {}
        try:
            found = run.manifests()
        except IntegrityError as error:
            problems.append(str(error))
        for manifest in found.values():
            kept = left_after(run, manifest, removed)
            files += len(kept.outputs)
            gone += len(manifest.outputs) - len(kept.outputs)
            problems += changed_outputs(run, kept)
        if "record" in found and run_id not in decided:
            problems.append(f"{run_id}: it was decided, and the ledger does not know of it")
    return files, gone, problems


def left_after(run: Run, manifest: Manifest, removed: set[tuple[str, str]]) -> Manifest:
    """The manifest without the outputs that are gone and whose removal is recorded."""
    outputs = {
        name: artifact
        for name, artifact in manifest.outputs.items()
        if (f"{run.run_id}/{manifest.place(artifact)}", artifact.sha256) not in removed
        or run.folder.exists(manifest.place(artifact))
    }
    return manifest.model_copy(update={"outputs": outputs})


def changed_outputs(run: Run, manifest: Manifest) -> list[str]:
    """What is missing or differs from the digest that the manifest recorded."""
    problems = []
    for artifact in manifest.outputs.values():
        path = manifest.place(artifact)
        try:
            if run.folder.sha256(path) != artifact.sha256:
                problems.append(f"{run.run_id}/{path}: its bytes changed")
        except FileNotFoundError:
            problems.append(f"{run.run_id}/{path}: missing")
    return problems


def _adapter_problems(config: Config) -> list[str]:
    """Registered adapters whose stored files, or whose probes, are not those that were registered."""
    registry = open_registry(config)
    problems = []
    for version in registry.versions():
        try:
            registry.check(version.version)
            registry.probes(version.version)
        except IntegrityError as error:
            problems.append(str(error))
    return problems


def _decision_problems(decision: Decision, config: Config) -> list[str]:
    problems = []
    if not open_signer(config).is_valid(decision.document.encode(), decision.signature):
        problems.append(f"decision {decision.run_id}: the signature does not fit")
    run = open_run(config, decision.run_id)
    if not run.folder.exists(""):
        return [*problems, f"decision {decision.run_id}: its run folder is gone"]
    for step, digest in decision.evidence.items():
        try:
            manifest = run.manifest(step)
        except IntegrityError:  # told of with the run's files
            continue
        if manifest is None or manifest.digest != digest:
            problems.append(
                f"decision {decision.run_id}: the manifest of {step} is not the one it was decided on"
            )
    return problems
