"""A node's logs, decoded strictly: what was not asked for, or cannot be, is not believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from eth_abi.exceptions import DecodingError

from ml.artifact.keccak import keccak256
from ml.chain import values
from ml.chain.types import CompletionReason, ModelKind, Verdict
from ml.errors import NotVerified

if TYPE_CHECKING:
    from ethpm_types.abi import EventABI

Topics = Sequence[str | None]
"""A filter: 0x and hex for each topic that has to be this one, None for any (eth_getLogs)."""

BLOCKS_PER_CALL: Final = 10_000
"""Public nodes refuse to search more blocks at once."""

Answer = TypeVar("Answer")

_TOPIC_DIGITS: Final = 66
"""0x and 32 bytes."""

_ENUMS: Final[Mapping[str, type[IntEnum]]] = {
    f"enum {kind.__name__}": kind for kind in (CompletionReason, ModelKind, Verdict)
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, its arguments by their Solidity names, and its place in the chain."""

    name: str
    arguments: dict[str, Any]
    block: int
    transaction: str
    log_index: int

    @property
    def model(self) -> bytes:
        """The id of the model that the event is about."""
        return bytes(self.arguments["modelId"])


def portions(
    ask: Callable[[int, int], Answer | None], first: int, last: int, most: int = BLOCKS_PER_CALL
) -> Iterator[Answer]:
    """The answers about all blocks from one to another, in their order, a portion at a time.

    Args:
        ask: about blocks from one to another; None if these are too many at once
        first: the first block
        last: the last block
        most: how many blocks to ask about at once; fewer once these are too many
    """
    while first <= last:
        end = min(first + most - 1, last)
        answer = ask(first, end)
        if answer is None:
            most = max(1, (end - first + 1) // 2)
            continue
        yield answer
        first = end + 1


def topic_of(event: EventABI) -> str:
    """The first topic of an event's logs."""
    return "0x" + keccak256(event.selector.encode()).hex()


def decode(logs: object, address: str, topics: Topics, events: Iterable[EventABI]) -> list[Event]:
    """The events that a node's answer stands for.

    Args:
        logs: the answer to eth_getLogs
        address: whose logs were asked for
        topics: which of them
        events: all events of the contract's ABI

    Raises:
        NotVerified: the answer holds something else than what was asked for.
    """
    known = {topic_of(event): event for event in events}
    try:
        return [_event(log, address, topics, known) for log in _list(logs)]
    except (DecodingError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise NotVerified(
            f"the node answered with events that {address} cannot have or that were not asked for:"
            " ask another node."
        ) from error


def _event(
    log: Mapping[str, Any], address: str, asked: Topics, known: Mapping[str, EventABI]
) -> Event:
    topics = [str(topic) for topic in log["topics"]]
    fits = len(asked) <= len(topics) and all(
        want in (None, got) for want, got in zip(asked, topics, strict=False)
    )
    if str(log["address"]).lower() != address.lower() or not fits:
        raise ValueError("one was not asked for")
    abi = known[topics[0]]
    indexed = [item for item in abi.inputs if item.indexed]
    others = [item for item in abi.inputs if not item.indexed]
    if len(indexed) != len(topics) - 1 or any(len(topic) != _TOPIC_DIGITS for topic in topics):
        raise ValueError("one has other topics than its event")
    # in one go: no event of ours has an indexed text, of which the topic would be a hash
    words = "".join(topic[2:] for topic in topics[1:])
    given = [*_decoded(indexed, words), *_decoded(others, log["data"])]
    names = [item.name or "" for item in (*indexed, *others)]
    return Event(
        name=abi.name,
        arguments=dict(zip(names, given, strict=True)),
        block=int(log["blockNumber"], 16),
        transaction=str(log["transactionHash"]),
        log_index=int(log["logIndex"], 16),
    )


def _decoded(items: Sequence[Any], data: str) -> list[Any]:
    raw = bytes.fromhex(data.removeprefix("0x"))
    decoded = values.decode([item.canonical_type for item in items], raw)
    return [
        _ENUMS[item.internal_type](value) if item.internal_type in _ENUMS else value
        for item, value in zip(items, decoded, strict=True)
    ]


def _list(answer: object) -> list[Any]:
    if not isinstance(answer, list):
        raise TypeError("not a list")
    return answer
