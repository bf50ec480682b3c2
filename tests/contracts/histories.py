"""Random histories of a model: any bytes at all are one.

Read off bytes, a history costs a search little to make and is small where the bytes are few and
low. Most moves would do on a well-run model, so that histories get somewhere; the rest are late,
early, out of range or out of place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ml.chain.line import Line
from ml.chain.types import MAX_PPM, Policy

from .mirror import Move

T = TypeVar("T")

# About every limit that a policy here may set.
OFFSETS = (0, 1, 1_000, 1_001, 5_000, -1, -4_999, -5_000, -5_001, -20_000, -20_001, -60_000)
GAPS = (0, 0, 0, 30_000, 30_001)
ODD_ACCURACIES = (0, MAX_PPM, MAX_PPM + 1, 2**32 - 1)
# Offsets from the version, parent, iteration and epoch due: one is off, as in a late message.
OUT_OF_TIME = tuple(
    tuple(by if place == off else 0 for place in range(4)) for off in range(4) for by in (1, -1)
)
INVALID = (
    Policy(tolerance=MAX_PPM + 1, max_drop=0),
    Policy(max_drop=2**32 - 1),
    Policy(min_accuracy=MAX_PPM + 1),
    Policy(min_improvement=MAX_PPM + 1),
    Policy(target_accuracy=MAX_PPM + 1),
    Policy(max_gap=MAX_PPM + 1),
    Policy(patience=65_536),
    Policy(convergence_patience=65_536),
    Policy(max_rollbacks=2**32 - 1),
    Policy(tolerance=20_001),
    Policy(min_accuracy=900_001, target_accuracy=900_000),
    Policy(quorum=0),
    Policy(quorum=0, tolerance=20_001, max_gap=MAX_PPM + 1),
)
BUSY = ("next",) * 16 + ("rollback", "rollback", "discard", "revoke", "policy", "complete")
DONE = ("reopen",) * 6 + ("rollback", "policy", "policy", "next", "revoke")
ODD = ("register", "register", "validate", "validate", "rollback", "discard", "revoke", "reopen")


class Over(Exception):
    """The bytes are used up, and so the history is."""


class Dice:
    """Bytes read as choices."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options. Raises Over."""
        for byte in self._bytes:
            return options[byte % len(options)]
        raise Over


def policy_from_dice(dice: Dice) -> Policy:
    """A valid policy whose limits are low enough for a short history to meet them."""
    return Policy(
        tolerance=dice.pick((5_000, 0)),
        max_drop=dice.pick((20_000, 0, 5_000)),
        patience=dice.pick((3, 0, 1, 2, 4)),
        min_accuracy=dice.pick((0, 850_000)),
        min_improvement=dice.pick((0, 1_000)),
        target_accuracy=dice.pick((0, 0, 0, 905_000)),
        convergence_patience=dice.pick((3, 0, 2, 6)),
        max_iterations=dice.pick((30, 0, 5)),
        max_rollbacks=dice.pick((4, 0, 1, 2)),
        max_gap=dice.pick((0, 0, 30_000)),
        quorum=dice.pick((1,) * 15 + (2,)),
    )


def next_move(dice: Dice, line: Line) -> Move:
    """What is tried next on a line. Raises Over."""
    state = line.state
    kind = dice.pick(DONE if state.completed else BUSY)
    if kind == "next" and dice.pick((False,) * 5 + (True,)):
        return _odd_move(dice, line)
    match kind:
        case "next" if state.pending:
            accuracy = _in_range((state.best_accuracy or 900_000) + dice.pick(OFFSETS))
            training = _in_range(accuracy + dice.pick(GAPS))
            accepted = dice.pick((True,) * 7 + (False,))
            return Move("validate", (state.pending, accuracy, training, accepted))
        case "next":
            due = (state.latest + 1, state.current, state.iteration + 1, state.epoch)
            return Move("register", due)
        case "rollback" | "revoke":
            return Move(kind, (dice.pick(range(state.latest + 2)),))
        case "policy":
            invalid = dice.pick((False, False, False, True))
            return Move("setPolicy", (dice.pick(INVALID) if invalid else policy_from_dice(dice),))
    return Move(kind)


def _odd_move(dice: Dice, line: Line) -> Move:
    """What a well-run model's people would not try."""
    state = line.state
    kind = dice.pick(ODD)
    match kind:
        case "register":
            version, parent, iteration, epoch = dice.pick(OUT_OF_TIME)
            due = (
                max(0, state.latest + 1 + version),
                max(0, state.current + parent),
                max(0, state.iteration + 1 + iteration),
                max(0, state.epoch + epoch),
            )
            return Move(kind, due)
        case "validate":
            version = max(0, state.latest + dice.pick((0, 0, -1, 1)))
            accuracy, training = dice.pick(ODD_ACCURACIES), dice.pick(ODD_ACCURACIES)
            return Move(kind, (version, accuracy, training, True))
        case "rollback" | "revoke":
            return Move(kind, (dice.pick((state.latest + 1, state.best, state.current, 0)),))
    return Move(kind)


def _in_range(accuracy: int) -> int:
    return max(0, min(accuracy, MAX_PPM))
