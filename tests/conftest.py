"""What all tests share: how Hypothesis searches, and what begins first."""

from __future__ import annotations

import os

import pytest
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests, so that no worker is left with one at the end.

    Not with those of the contracts: what they deploy for a session does not outlive the tests that
    connect Ape to other nodes in between.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow or "contracts" in item.path.parts)
