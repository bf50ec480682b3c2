"""Blocks and logs as a node tells them, taken strictly: what cannot be is not believed."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ml.chain.outbox.rpc import NoAnswer, Question, Rpc, RpcError
from ml.errors import ModelproofError, NotVerified

_PAUSES_S: Final = (0.2, 1.0)

Log = dict[str, Any]
"""As eth_getLogs has it."""


class Moved(Exception):
    """The chain, or the index, is no longer as it was when the reading began: begin again."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an index keeps of a block."""

    number: int
    hash: bytes
    parent: bytes
    time: int
    """Seconds since 1970."""


class BlockSource:
    """The blocks of a node's chain.

    Raises (all methods):
        NoAnswer: there is none, after several attempts.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def latest(self) -> Header:
        """The last block.

        Raises:
            NotVerified: the node's answer is not a block.
        """
        (found,) = self._headers(["latest"])
        if found is None:
            raise NotVerified("the node says that its chain has no last block: ask another node.")
        return found

    def header(self, number: int) -> Header | None:
        """The block of a number, None if there is none.

        Raises:
            NotVerified: the node's answer is not that block.
        """
        return self.headers([number])[0]

    def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """The blocks of some numbers, asked for many at once.

        Raises:
            NotVerified: the node's answer is not those blocks.
        """
        found = self._headers([hex(number) for number in numbers])
        if any(one is not None and one.number != n for one, n in zip(found, numbers, strict=True)):
            raise NotVerified("the node answered with blocks that were not asked for.")
        return found

    def logs(self, addresses: Collection[str], first: int, last: int) -> list[Log] | None:
        """The logs of some contracts from one block to another; None if these are too many at once.

        Raises:
            NotVerified: the node's answer holds something else than what was asked for.
            ModelproofError: the node does not even search one block.
        """
        query = {
            "address": sorted(addresses),
            "fromBlock": hex(first),
            "toBlock": hex(last),
        }
        (answer,) = self._ask([("eth_getLogs", [query])])
        if not isinstance(answer, RpcError):
            return _checked(answer, first, last)
        if first < last:
            return None
        raise ModelproofError(
            f"the node does not say what happened in block {first} ({answer.message}): it may keep"
            " too little of the chain; name another one."
        )

    def _headers(self, which: Sequence[str]) -> list[Header | None]:
        answers = self._ask([("eth_getBlockByNumber", [one, False]) for one in which])
        for answer in answers:
            if isinstance(answer, RpcError):
                raise ModelproofError(f"the node does not tell its blocks: {answer.message}.")
        return [_header(answer) for answer in answers]

    def _ask(self, questions: Sequence[Question]) -> list[Any]:
        """Ask again where there is no answer: public nodes limit how often one may ask."""
        for pause_s in _PAUSES_S:
            try:
                return self._rpc.ask_all(questions)
            except NoAnswer:
                time.sleep(pause_s)
        return self._rpc.ask_all(questions)


def _header(answer: object) -> Header | None:
    """A block as an answer has it."""
    if not answer:
        return None
    try:
        found = Header(
            number=_whole(answer["number"], 63),  # type: ignore[index]
            hash=hash_bytes(answer["hash"]),  # type: ignore[index]
            parent=hash_bytes(answer["parentHash"]),  # type: ignore[index]
            time=_whole(answer["timestamp"], 63),  # type: ignore[index]
        )
    except (LookupError, TypeError, ValueError) as error:
        raise NotVerified("the node answered with what is no block: ask another node.") from error
    return found


def hash_bytes(text: object) -> bytes:
    """A hash as JSON-RPC writes it.

    Raises:
        ValueError: it is none.
        TypeError: it is no text.
    """
    if not isinstance(text, str):
        raise TypeError("not a text")
    found = bytes.fromhex(text.removeprefix("0x"))
    if len(found) != 32:
        raise ValueError("not 32 bytes")
    return found


def _checked(answer: object, first: int, last: int) -> list[Log]:
    """An answer whose logs have places within these blocks, each its own, in their order."""
    try:
        placed = {_place(log): log for log in answer}  # type: ignore[attr-defined]
        sound = len(placed) == len(answer) and all(first <= at <= last for at, _ in placed)  # type: ignore[arg-type]
    except (LookupError, TypeError, ValueError, AttributeError):
        sound = False
    if not sound:
        raise NotVerified(
            "the node answered with events that were not asked for: ask another node."
        )
    return [placed[place] for place in sorted(placed)]


def _place(log: Log) -> tuple[int, int]:
    hash_bytes(log["blockHash"])
    hash_bytes(log["transactionHash"])
    if log.get("removed") or not isinstance(log["address"], str):
        raise ValueError("one is said to be gone, or is nobody's")
    return _whole(log["blockNumber"], 63), _whole(log["logIndex"], 31)


def _whole(text: str, bits: int) -> int:
    """A number that a database can hold."""
    number = int(text, 16)
    if not 0 <= number < 1 << bits:
        raise ValueError("no block and no log has such a number")
    return number
