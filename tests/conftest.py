"""What all tests share: how Hypothesis searches."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# The same examples each time, and no limit that a slow machine could exceed;
# HYPOTHESIS_PROFILE=search looks for new ones.
NEVER_SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "repeat", deadline=None, derandomize=True, suppress_health_check=NEVER_SLOW
)
settings.register_profile(
    "search", deadline=None, max_examples=2_000, suppress_health_check=NEVER_SLOW
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))
