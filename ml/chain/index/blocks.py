"""Blocks and logs as a node tells them, taken strictly: what cannot be is not believed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ape.exceptions import ApeException, ProviderError
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import RequestException
from web3.providers.rpc import HTTPProvider

from ml.errors import ModelproofError, NotVerified

if TYPE_CHECKING:
    from ape.api import ProviderAPI

_HEADERS_PER_CALL: Final = 100

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
    """The blocks of the chain that a provider is connected to."""

    def __init__(self, provider: ProviderAPI) -> None:
        self._provider = provider

    def latest(self) -> Header:
        """The last block.

        Raises:
            NotVerified: the node's answer is not a block.
        """
        found = _header(self._ask("eth_getBlockByNumber", "latest", False))
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
        """The blocks of some numbers, asked for many at once where the node takes that.

        Raises:
            NotVerified: the node's answer is not those blocks.
        """
        found: list[Header | None] = []
        for start in range(0, len(numbers), _HEADERS_PER_CALL):
            portion = numbers[start : start + _HEADERS_PER_CALL]
            answers = self._ask_together("eth_getBlockByNumber", [(hex(n), False) for n in portion])
            found += map(_header, answers)
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
        try:
            answer = self._ask("eth_getLogs", query)
        except RequestsConnectionError:
            raise  # there is no node: fewer blocks would not help
        except (ProviderError, RequestException) as error:
            if first < last:
                return None
            raise ModelproofError(
                f"the node does not say what happened in block {first} ({error}): it may keep too"
                " little of the chain; name another one."
            ) from error
        return _checked(answer, first, last)

    def _ask(self, method: str, *parameters: object) -> Any:
        return self._provider.make_request(method, list(parameters))

    def _ask_together(self, method: str, parameters: Sequence[tuple[object, ...]]) -> list[Any]:
        """The answers to many calls, in one request if that works."""
        http = self._provider.web3.provider
        if isinstance(http, HTTPProvider) and len(parameters) > 1:
            calls = [(method, list(each)) for each in parameters]
            try:
                answers = http.make_batch_request(calls)  # type: ignore[arg-type]
                results = [answer["result"] for answer in answers]  # type: ignore[index]
            except (ApeException, RequestException, LookupError, TypeError, ValueError):
                results = []  # not every node takes several at once
            if len(results) == len(parameters):
                return results
        return [self._ask(method, *each) for each in parameters]


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
