"""The files of a routed adapter: fetched from the registry and checked against the promoted digest."""

from __future__ import annotations

from pathlib import Path

from pipelines.core.config import Config
from pipelines.core.errors import IntegrityError
from pipelines.core.probes import ProbeSet
from pipelines.core.traffic_split import Adapter
from pipelines.models import open_registry
from pipelines.models.registry import adapter_digest

WEIGHTS = "adapter_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")  # reading one runs whatever it holds


class AdapterFiles:
    """Fetches adapters from the registry of a configuration."""

    def __init__(self, config: Config) -> None:
        self._registry = open_registry(config)

    def fetch(self, adapter: Adapter) -> Path:
        """The folder of an adapter's files. Blocks: call it in a thread.

        Raises IntegrityError if the files are not those that were promoted.
        """
        folder = self._registry.fetch(adapter.version)
        _check_layout(adapter, folder)
        if (found := adapter_digest(folder)) != adapter.digest:
            raise IntegrityError(
                f"Version {adapter.version} was promoted with digest {adapter.digest[:12]}, "
                f"but its files have digest {found[:12]}.",
                "The version was replaced after its promotion: promote it again.",
            )
        return folder

    def probes(self, adapter: Adapter) -> ProbeSet | None:
        """What tells an adapter from its base; None for one that was registered without. Blocks."""
        return self._registry.probes(adapter.version)


def _check_layout(adapter: Adapter, folder: Path) -> None:
    """Raises IntegrityError unless all files lie in the folder itself and weights are safetensors."""
    odd = [path for path in folder.iterdir() if not path.is_file() or path.suffix in PICKLES]
    if odd or not (folder / WEIGHTS).is_file():
        found = ", ".join(sorted(path.name for path in odd)) or f"no {WEIGHTS}"
        raise IntegrityError(
            f"The files of version {adapter.version} have {found}; an adapter is one folder of plain files"
            " with its weights as safetensors.",
            "Register the adapter again without them.",
        )
