"""`python -m pipelines verify`: re-hash what the manifests name, check signatures and the ledger's chain."""

from __future__ import annotations

from pathlib import Path

from pipelines.adapters.blobs import sha256_of
from pipelines.adapters.ledger import Decision, Ledger
from pipelines.adapters.signer import Signer
from pipelines.config import Config
from pipelines.contract import Manifest
from pipelines.errors import IntegrityError
from pipelines.runner import Run
from pipelines.steps.record import signing_folder


def verify(config: Config) -> int:
    """Print one line a finding and a summary; exit status 0 when all is as recorded, 2 otherwise."""
    home = Path(config.home)
    ledger = Ledger(config.path(config.ledger_url))
    problems: list[str] = []
    try:
        links = ledger.verify()
    except IntegrityError as error:
        links = 0
        problems.append(f"ledger: {error}")
    files = 0
    for folder in sorted((home / "runs").glob("*")):
        run = Run(str(folder))
        for manifest in run.manifests().values():
            files += len(manifest.outputs)
            problems += changed_outputs(run, manifest)
    decisions = ledger.decisions()
    for decision in decisions:
        problems += _decision_problems(decision, home)
    for problem in problems:
        print(f"BROKEN  {problem}")
    print(f"{links} ledger links, {len(decisions)} signed decisions, {files} files: {len(problems)} problems")
    return 2 if problems else 0


def changed_outputs(run: Run, manifest: Manifest) -> list[str]:
    """What is missing or differs from the digest that the manifest recorded."""
    problems = []
    for artifact in manifest.outputs.values():
        path = f"{manifest.step}/{artifact.path}"
        if not run.folder.exists(path):
            problems.append(f"{run.run_id}/{path}: missing")
        elif sha256_of(run.folder.local(path)) != artifact.sha256:
            problems.append(f"{run.run_id}/{path}: its bytes changed")
    return problems


def _decision_problems(decision: Decision, home: Path) -> list[str]:
    problems = []
    if not Signer(signing_folder(home)).is_valid(decision.document.encode(), decision.signature):
        problems.append(f"decision {decision.run_id}: the signature does not fit")
    found = {step: m.digest for step, m in Run(str(home / "runs" / decision.run_id)).manifests().items()}
    for step, digest in decision.evidence.items():
        if found.get(step) != digest:
            problems.append(
                f"decision {decision.run_id}: the manifest of {step} is not the one it was decided on"
            )
    return problems
