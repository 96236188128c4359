"""How many examples a property test tries: `@settings(max_examples=examples(), deadline=None)`.

CI tries 300. `make fuzz` sets NIGHTSHIFT_FUZZ_EXAMPLES to 20,000, and then draws new ones each time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

VARIABLE = "NIGHTSHIFT_FUZZ_EXAMPLES"


def examples() -> int:
    return int(os.environ.get(VARIABLE, "300"))


settings.register_profile(
    "nightshift",
    deadline=None,
    max_examples=examples(),
    derandomize=VARIABLE not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("nightshift")
