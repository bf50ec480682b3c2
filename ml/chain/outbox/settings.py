"""How patient the queue is, and how much it pays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from ml.chain.outbox.fees import GWEI
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import ProviderAPI

FEE_CAP_VARIABLE: Final = "MODELPROOF_MAX_FEE_GWEI"
TIMEOUT_VARIABLE: Final = "MODELPROOF_TIMEOUT_S"
FINAL_DEPTH: Final = 64
"""Blocks on top of which none is expected to be undone: two epochs of Ethereum."""
_DEEPER: Final = {"base:sepolia": 600}
"""On an L2 as many as it makes until those of L1 are final, roughly."""
_STUCK_AFTER_BLOCKS: Final = 5
_STUCK_AFTER_S: Final = 15.0
_LONGEST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_BLOCKS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one chain."""

    confirmations: int = 0
    """Blocks on top of a transaction's own before its result is believed."""
    timeout_s: float = 120.0
    """How long to wait for a transaction, or for a node that does not answer."""
    stuck_after_s: float = _STUCK_AFTER_S
    """After that long a transaction is replaced by one that pays more; twice as long each time."""
    final_depth: int = FINAL_DEPTH
    """After so many blocks a transaction is not looked at again."""
    fee_cap: int | None = None
    """Wei per gas that is paid at most."""
    longest_pause_s: float = _LONGEST_PAUSE_S
    """Between two looks at the chain."""
    clock: Callable[[], float] = time.monotonic
    """Seconds; never goes back, whatever happens to the time of day."""
    sleep: Callable[[float], None] = time.sleep


def settings_for(provider: ProviderAPI, *, is_passing: bool) -> Settings:
    """What ape-config.yaml says of a network, and the environment of fees and of patience.

    Args:
        provider: connected to it
        is_passing: the chain ends with this process, so that nothing is to be looked after

    Raises:
        ModelproofError: a variable does not hold what it should.
    """
    network = provider.network
    confirmations, block_time_s = network.required_confirmations, float(network.block_time)
    return Settings(
        confirmations=confirmations,
        timeout_s=_timeout_s() or float(network.transaction_acceptance_timeout),
        stuck_after_s=max(_STUCK_AFTER_S, _STUCK_AFTER_BLOCKS * block_time_s),
        final_depth=confirmations if is_passing else finality_depth(network.choice),
        fee_cap=_fee_cap(),
        longest_pause_s=max(_LONGEST_PAUSE_S, _LONGEST_PAUSE_BLOCKS * block_time_s),
    )


def finality_depth(network: str) -> int:
    """After how many blocks a network's block stays, for practical purposes.

    Args:
        network: as Ape writes it, ``ecosystem:network`` and what may follow
    """
    return _DEEPER.get(":".join(network.split(":")[:2]), FINAL_DEPTH)


def _fee_cap() -> int | None:
    gwei = _positive(FEE_CAP_VARIABLE, "gwei above 0, such as 30")
    return None if gwei is None else int(gwei * GWEI)


def _timeout_s() -> float | None:
    seconds = _positive(TIMEOUT_VARIABLE, "seconds above 0, such as 600")
    return None if seconds is None else float(seconds)


def _positive(variable: str, what: str) -> Decimal | None:
    """The number that a variable of the environment holds, None if it is not set."""
    text = os.environ.get(variable, "")
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(0)
    if not number.is_finite() or number <= 0:
        raise ModelproofError(f"{variable} is {text!r}: it takes a number of {what}.")
    return number
