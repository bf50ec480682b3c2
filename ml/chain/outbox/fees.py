"""What a transaction offers to pay, by EIP-1559. Pure; all amounts are wei per gas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ml.errors import ModelproofError

GWEI: Final = 10**9
DEFAULT_TIP: Final = GWEI
"""For whoever makes the block, where the node suggests nothing."""
_HEADROOM: Final = 2
"""The base fee rises by an eighth per block at most: this bears six full blocks."""
_RAISE: Final = (9, 8)
"""Nodes demand 10 % more of a replacement, in both fees; some of them an eighth."""


class TooDear(ModelproofError):
    """Gas costs more now than the user allows."""


@dataclass(frozen=True, slots=True)
class Market:
    """What gas costs at the moment."""

    base_fee: int | None
    """Of the next block; None on a chain without EIP-1559."""
    tip: int
    """What the node suggests for whoever makes the block; there, the whole price."""


@dataclass(frozen=True, slots=True)
class Fees:
    """What is offered; both are the gas price on a chain without EIP-1559."""

    maximum: int
    priority: int
    is_legacy: bool = False


def offer(market: Market, cap: int | None = None) -> Fees:
    """What to offer for a new transaction.

    Args:
        market: what gas costs now
        cap: what the user pays at most

    Raises:
        TooDear: even the least that is asked for now is above the cap.
    """
    if market.base_fee is None:
        return _capped(Fees(market.tip, market.tip, is_legacy=True), market, cap)
    return _capped(Fees(_HEADROOM * market.base_fee + market.tip, market.tip), market, cap)


def replace(previous: Fees, market: Market, cap: int | None = None) -> Fees:
    """What to offer so that nodes take it in the place of what waits.

    Raises:
        TooDear: it would be above the cap.
    """
    now = offer(market)
    least = Fees(_raised(previous.maximum), _raised(previous.priority), previous.is_legacy)
    maximum = max(now.maximum, least.maximum)
    if cap is not None and maximum > cap >= least.maximum:
        maximum = cap
    if cap is not None and maximum > cap:
        raise TooDear(
            f"the transaction that waits offers {_gwei(previous.maximum)} gwei, and to replace it"
            f" takes {_gwei(least.maximum)}, above the cap of {_gwei(cap)}: wait, or raise"
            " MODELPROOF_MAX_FEE_GWEI."
        )
    return Fees(maximum, min(max(now.priority, least.priority), maximum), previous.is_legacy)


def above_cap(entry: int, signed: int, cap: int) -> TooDear:
    """The error for an entry that was signed while the cap was higher, or there was none.

    Args:
        entry: its number
        signed: what its transaction pays at most
        cap: what the user pays at most now
    """
    return TooDear(
        f"entry {entry} was signed to pay up to {_gwei(signed)} gwei, above the cap of"
        f" {_gwei(cap)}, and is not sent again: raise MODELPROOF_MAX_FEE_GWEI, or take the entry"
        f" back with `ape run outbox drop {entry} --cancel`."
    )


def _capped(fees: Fees, market: Market, cap: int | None) -> Fees:
    if cap is None or fees.maximum <= cap:
        return fees
    least = fees.maximum if market.base_fee is None else market.base_fee + 1
    if cap < least:
        raise TooDear(
            f"gas costs {_gwei(least)} gwei now, above the cap of {_gwei(cap)}: wait, or raise"
            " MODELPROOF_MAX_FEE_GWEI."
        )
    return Fees(cap, min(fees.priority, cap), fees.is_legacy)


def _raised(amount: int) -> int:
    times, by = _RAISE
    return -(-amount * times // by) + 1  # strictly more, of very little too


def _gwei(wei: int) -> str:
    return f"{wei / GWEI:.9f}".rstrip("0").rstrip(".")
