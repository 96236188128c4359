"""A deliberately bad adapter: the production adapter's update with the opposite sign."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file

from pipelines.core.config import Config
from pipelines.core.traffic_split import Adapter
from pipelines.models import open_registry, open_tracker
from pipelines.models.aliases import in_production

WEIGHTS = "adapter_model.safetensors"


def register_bad(config: Config) -> Adapter:
    """Register it as the newest candidate, as a person would who bypasses the gate."""
    registry, tracker = open_registry(config), open_tracker(config)
    good = in_production(config)
    assert good is not None
    with tempfile.TemporaryDirectory() as folder:
        bad = Path(shutil.copytree(registry.fetch(good.version), Path(folder) / "adapter"))
        weights = load_file(bad / WEIGHTS)
        save_file({name: -w if "lora_B" in name else w for name, w in weights.items()}, bad / WEIGHTS)
        run_id = f"{good.run_id}-bad"
        tags = {"base_digest": good.tags["base_digest"], "gate": "never asked"}
        found = registry.register(bad, tracker, tracker.run(run_id, "bad"), run_id, good.nights, tags)
    return Adapter(found.version, found.digest)
