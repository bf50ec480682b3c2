"""The packed words in which the registry stores a model's state and its policy. Pure.

The same layouts as in ``contracts/types/ModelState.sol`` and ``contracts/types/Policy.sol``: what a
storage proof shows, and what the head of a model commits to.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ml.chain.types import ModelState, Policy

Layout = Mapping[str, tuple[int, int]]
"""Field: offset from the least significant bit, and width, in bits."""

STATE_LAYOUT: Final[Layout] = MappingProxyType(
    {
        "current": (0, 32),
        "best": (32, 32),
        "latest": (64, 32),
        "best_accuracy": (96, 24),
        "iteration": (120, 32),
        "epoch": (152, 32),
        "below_best": (184, 16),
        "since_progress": (200, 16),
        "rollbacks": (216, 16),
        "completed": (232, 8),
        "waiting": (240, 8),
        "kind": (248, 8),
    }
)

POLICY_LAYOUT: Final[Layout] = MappingProxyType(
    {
        "tolerance": (0, 24),
        "max_drop": (24, 24),
        "min_accuracy": (48, 24),
        "min_improvement": (72, 24),
        "target_accuracy": (96, 24),
        "max_gap": (120, 24),
        "patience": (144, 16),
        "convergence_patience": (160, 16),
        "max_rollbacks": (176, 16),
        "max_iterations": (192, 32),
        "quorum": (224, 8),
        "independent": (232, 8),
    }
)


def state_word(state: ModelState) -> int:
    """Pack a model's state.

    Raises:
        ValueError: a field does not fit.
    """
    return _pack(STATE_LAYOUT, {name: int(getattr(state, name)) for name in STATE_LAYOUT})


def policy_word(policy: Policy) -> int:
    """Pack a policy.

    Raises:
        ValueError: a field does not fit.
    """
    return _pack(POLICY_LAYOUT, {name: int(getattr(policy, name)) for name in POLICY_LAYOUT})


def _pack(layout: Layout, values: Mapping[str, int]) -> int:
    word = 0
    for name, (offset, width) in layout.items():
        value = values[name]
        if not 0 <= value < 1 << width:
            raise ValueError(f"{name} is {value}, which does not fit in {width} bits")
        word |= value << offset
    return word
