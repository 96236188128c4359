"""How many examples a property is tried with: few in the suite, many under `make fuzz`."""

from __future__ import annotations

import os


def examples() -> int:
    return int(os.environ.get("NIGHTSHIFT_FUZZ_EXAMPLES", "300"))
