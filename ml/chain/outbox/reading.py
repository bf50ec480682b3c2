"""What nodes' answers hold. Pure.

Raises (all functions):
    NoAnswer: something else than what was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ml.chain.outbox.entry import Inclusion
from ml.chain.outbox.fees import DEFAULT_TIP, Market
from ml.chain.outbox.rpc import NoAnswer


def market(base_fee: Any, tip: Any, price: Any) -> Market:
    """What gas costs, by a block's base fee if it has one, and by what the node suggests."""
    if base_fee is None:
        return Market(None, quantity(price))
    suggested = DEFAULT_TIP
    with suppress(NoAnswer):
        suggested = quantity(tip)
    return Market(quantity(base_fee), suggested)


def inclusion(receipt: Mapping[str, Any], asked: str) -> Inclusion:
    """Where a receipt says that the transaction is whose it was asked for."""
    try:
        found = Inclusion(
            transaction=text(receipt["transactionHash"]),
            block=quantity(receipt["blockNumber"]),
            block_hash=text(receipt["blockHash"]),
            gas_used=quantity(receipt["gasUsed"]),
            succeeded=quantity(receipt["status"]) == 1,
        )
    except LookupError as error:
        raise NoAnswer(f"the node's receipt of {asked} lacks {error}.") from error
    if found.transaction != asked:
        raise NoAnswer(f"the node answered with the receipt of another transaction than {asked}.")
    return found


def block_of(answer: Any) -> Mapping[str, Any]:
    """A block."""
    if not isinstance(answer, Mapping):
        raise NoAnswer("the node does not give its latest block.")
    return answer


def hash_of(block: Mapping[str, Any]) -> str:
    """The hash of a block."""
    if "hash" not in block:
        raise NoAnswer("the node gives a block without its hash.")
    return text(block["hash"])


def parent_of(block: Mapping[str, Any]) -> str | None:
    """The hash of the block below, if the node tells it."""
    return text(block["parentHash"]) if "parentHash" in block else None


def transactions_of(block: Mapping[str, Any]) -> frozenset[str]:
    """The hashes of a block's transactions."""
    return frozenset(map(text, block.get("transactions", ())))


def quantity(answer: Any) -> int:
    """A quantity, as JSON-RPC writes it or as Python has it."""
    if isinstance(answer, int):
        return answer
    try:
        return int(answer, 16)
    except (TypeError, ValueError) as error:
        raise NoAnswer("the node answered with something else than a number.") from error


def text(answer: Any) -> str:
    """A hash, as 0x and hex in small letters."""
    return "0x" + bytes(answer).hex() if isinstance(answer, bytes) else str(answer).lower()


def raw(answer: Any) -> bytes:
    """Bytes, as JSON-RPC writes them or as Python has them."""
    if isinstance(answer, bytes):
        return answer
    try:
        return bytes.fromhex(str(answer).removeprefix("0x"))
    except ValueError as error:
        raise NoAnswer("the node answered with something else than bytes.") from error
