"""What the queue asks a chain, and what it believes of the answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ml.chain.logs import portions
from ml.chain.outbox.answers import Answer, meaning_of
from ml.chain.outbox.entry import Attempt, Call, Entry, Inclusion
from ml.chain.outbox.fees import DEFAULT_TIP, Market
from ml.chain.outbox.rpc import NoAnswer, Rpc, RpcError
from ml.errors import ModelproofError

_SELECTOR: Final = 4
"""Bytes that say which function is called."""
_MARGIN: Final = (3, 2)
_MORE_GAS: Final = 50_000
"""What is given over the node's estimate: transactions in between may make a call dearer, such as a
record that completes several subtrees of a log. What is not used is not paid for."""


class OtherChain(ModelproofError):
    """The node is of another chain than the journal."""


class Reverts(Exception):
    """A call that would revert now, with ``data`` as the contract's reason."""

    def __init__(self, message: str, data: Any) -> None:
        super().__init__(message)
        self.data = data


@dataclass(frozen=True, slots=True)
class Standing:
    """How a sender stands on a chain at one moment."""

    mined: int
    """Transactions of the sender that are in blocks: the nonce of the next one."""
    pending: int
    """The same with those that the node has waiting in a row."""
    balance: int
    """Wei."""
    market: Market
    gas_limit: int
    """Of a block."""


class Chain:
    """One chain, through one node.

    Raises (all methods):
        NoAnswer: there is none, or none that makes sense.
    """

    def __init__(self, rpc: Rpc, chain_id: int, genesis: str) -> None:
        self._rpc = rpc
        self.chain_id = chain_id
        self.genesis = genesis

    def standing(self, sender: str) -> Standing:
        """How a sender stands now.

        Raises:
            OtherChain: the node has another first block than the chain that was connected to.
        """
        mined, pending, balance, latest, first, tip, price = self._rpc.ask_all(
            [
                ("eth_getTransactionCount", [sender, "latest"]),
                ("eth_getTransactionCount", [sender, "pending"]),
                ("eth_getBalance", [sender, "latest"]),
                ("eth_getBlockByNumber", ["latest", False]),
                ("eth_getBlockByNumber", ["0x0", False]),
                ("eth_maxPriorityFeePerGas", []),
                ("eth_gasPrice", []),
            ]
        )
        latest, first = _block(latest), _block(first)
        if _text(first["hash"]) != self.genesis:
            raise OtherChain(
                f"the node began with block {_text(first['hash'])[:10]}…, and the chain that was"
                f" connected to with {self.genesis[:10]}…: nothing is sent; connect again."
            )
        count = quantity(mined)
        return Standing(
            mined=count,
            # nodes without a pool of their own have no answer to that
            pending=count if isinstance(pending, RpcError) else max(count, quantity(pending)),
            balance=quantity(balance),
            market=_market(latest.get("baseFeePerGas"), tip, price),
            gas_limit=quantity(latest["gasLimit"]),
        )

    def count(self, sender: str, depth: int = 0) -> int:
        """A sender's transactions in blocks that have so many others on top of them."""
        block = "latest"
        if depth:
            block = hex(max(0, quantity(self._rpc.ask("eth_blockNumber")) - depth))
        return quantity(self._rpc.ask("eth_getTransactionCount", sender, block))

    def estimate(self, calls: Sequence[Call], gas_limit: int) -> list[int | Reverts]:
        """The gas to give to each call, or why it would revert.

        Estimating takes a node many trials of one call: of calls of one function with equally long
        data only the first is estimated, and the others are tried.
        """
        first: dict[tuple[str, bytes, int], int] = {}
        alike = [(call.to, call.data[:_SELECTOR], len(call.data)) for call in calls]
        for place, kind in enumerate(alike):
            first.setdefault(kind, place)
        estimated = set(first.values())
        answers = self._rpc.ask_all(
            [
                ("eth_estimateGas", [_as_rpc(call)])
                if place in estimated
                else ("eth_call", [_as_rpc(call), "latest"])
                for place, call in enumerate(calls)
            ]
        )
        return [
            self._why(call, answer)
            if isinstance(answer, RpcError)
            else self._ample(answers[first[kind]], gas_limit)
            for call, kind, answer in zip(calls, alike, answers, strict=True)
        ]

    def _ample(self, estimate: Any, gas_limit: int) -> int:
        if isinstance(estimate, RpcError):
            return gas_limit  # nothing of this will be sent
        times, by = _MARGIN
        return min(quantity(estimate) * times // by + _MORE_GAS, gas_limit)

    def trial(self, call: Call, block: int | None = None) -> bytes:
        """What a call would return, on the latest block or on an earlier one.

        Raises:
            Reverts: it would revert.
        """
        return try_call(self._rpc, _as_rpc(call), block)

    def send(self, attempts: Sequence[Attempt]) -> list[tuple[Answer, str] | None]:
        """Send signed transactions, in their order.

        Returns:
            for each None if the node took it, or why it did not: its meaning, and in its words
        """
        answers = self._rpc.ask_all(
            [("eth_sendRawTransaction", ["0x" + one.raw.hex()]) for one in attempts]
        )
        return [
            (meaning_of(answer.message), answer.message) if isinstance(answer, RpcError) else None
            for answer in answers
        ]

    def find(self, entries: Sequence[Entry]) -> tuple[int, dict[int, Inclusion]]:
        """The number of the latest block, and by entries' numbers which block each is in."""
        head, found = self.find_all(entries)
        # of several the one that is known, or the first: `ape run fsck` tells of the others
        return head, {
            entry.id: entry.inclusion if entry.inclusion in found[entry.id] else found[entry.id][0]
            for entry in entries
            if entry.id in found
        }

    def find_all(self, entries: Sequence[Entry]) -> tuple[int, dict[int, list[Inclusion]]]:
        """The same with all blocks that attempts at an entry are in: one, unless all went wrong.

        A receipt counts only if the block that it names is the chain's own at that height and holds
        the transaction.
        """
        asked = [(entry.id, one.hash) for entry in entries for one in entry.attempts]
        head, *receipts = self._rpc.ask_all(
            [
                ("eth_blockNumber", []),
                *(("eth_getTransactionReceipt", [hashed]) for _, hashed in asked),
            ]
        )
        told: list[tuple[int, Inclusion]] = []
        for (entry, hashed), receipt in zip(asked, receipts, strict=True):
            if isinstance(receipt, RpcError):
                raise NoAnswer(f"the node does not say where {hashed} is: {receipt.message}")
            if receipt:
                told.append((entry, _inclusion(receipt, hashed)))
        blocks = self._transactions({one.block for _, one in told})
        found = defaultdict[int, list[Inclusion]](list)
        for entry, one in told:
            if one.transaction in blocks.get((one.block, one.block_hash), ()):
                found[entry].append(one)
        return quantity(head), dict(found)

    def still_holds(self, found: Iterable[Inclusion]) -> tuple[int, bool]:
        """The number of the latest block, and whether the chain has all blocks of transactions."""
        expected = sorted({(one.block, one.block_hash) for one in found})
        head, *blocks = self._rpc.ask_all(
            [
                ("eth_blockNumber", []),
                *(("eth_getBlockByNumber", [hex(number), False]) for number, _ in expected),
            ]
        )
        # of a block that there is not, some nodes say so in an error
        are_there = all(
            isinstance(block, Mapping) and _text(block["hash"]) == block_hash
            for (_, block_hash), block in zip(expected, blocks, strict=True)
        )
        return quantity(head), are_there

    def knows(self, entries: Sequence[Entry]) -> list[bool]:
        """Whether the node has some attempt at each of these, waiting or in a block."""
        asked = [(entry.id, one.hash) for entry in entries for one in entry.attempts]
        answers = self._rpc.ask_all([("eth_getTransactionByHash", [hashed]) for _, hashed in asked])
        known = {
            number
            for (number, _), answer in zip(asked, answers, strict=True)
            if answer and not isinstance(answer, RpcError)
        }
        return [entry.id in known for entry in entries]

    def happened_since(
        self, found: Inclusion, address: str, subject: str | None, but: Container[str] = ()
    ) -> bool:
        """Whether a contract told of anything after a transaction.

        Args:
            found: where the transaction is
            address: the contract's
            subject: the first indexed value of the events that matter, as a topic; None for all
            but: transactions that do not matter
        """
        head = quantity(self._rpc.ask("eth_blockNumber"))
        topics = [None, subject] if subject else []
        for logs in portions(partial(self._logs, address, topics), found.block, head):
            hashes = [_text(log["transactionHash"]) for log in logs]
            later = hashes[_after(found.transaction, hashes) :]
            if any(hashed not in but for hashed in later):
                return True
        return False

    def _logs(
        self, address: str, topics: Sequence[str | None], first: int, last: int
    ) -> list[Any] | None:
        """The logs of a contract from one block to another; None if these are too many at once."""
        query = {
            "address": address,
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "topics": topics,
        }
        (answer,) = self._rpc.ask_all([("eth_getLogs", [query])])
        if not isinstance(answer, RpcError):
            return list(answer)
        if first < last:
            return None
        raise NoAnswer(f"the node does not say what happened in block {first}: {answer.message}")

    def _transactions(self, numbers: Iterable[int]) -> dict[tuple[int, str], frozenset[str]]:
        """What is in these blocks of the chain, by number and hash."""
        asked = sorted(numbers)
        if not asked:
            return {}
        blocks = self._rpc.ask_all(
            [("eth_getBlockByNumber", [hex(number), False]) for number in asked]
        )
        return {
            (number, _text(block["hash"])): frozenset(map(_text, block["transactions"]))
            for number, block in zip(asked, blocks, strict=True)
            if isinstance(block, Mapping)
        }

    def _why(self, call: Call, refused: RpcError) -> Reverts:
        """Why gas could not be estimated: some nodes say it of calls alone."""
        if not refused.data:
            try:
                self.trial(call)
            except Reverts as reverts:
                return reverts
        return _reverts(refused)


def try_call(rpc: Rpc, call: Mapping[str, str], block: int | None = None) -> bytes:
    """What a call would return, on the latest block or on an earlier one.

    One question, where web3's own way asks for the chain's id twice besides.

    Raises:
        Reverts: it would revert.
        NoAnswer: the node did not answer, or not to this.
    """
    at = "latest" if block is None else hex(block)
    (answer,) = rpc.ask_all([("eth_call", [call, at])])
    return returned(answer)


def returned(answer: Any) -> bytes:
    """What a call returned, by the node's answer.

    Raises:
        Reverts: it would revert.
        NoAnswer: the node did not answer this.
    """
    if isinstance(answer, RpcError):
        raise _reverts(answer)
    return _bytes(answer)


def _reverts(refused: RpcError) -> Reverts:
    """What a node refused, as the contract's refusal.

    Raises:
        NoAnswer: it is not the call that fails.
    """
    if not refused.is_of_the_call:
        raise NoAnswer(f"the node does not try the call: {refused.message}")
    return Reverts(refused.message, refused.data)


def _as_rpc(call: Call) -> dict[str, str]:
    said = {"from": call.sender, "to": call.to, "data": "0x" + call.data.hex()}
    return {**said, "value": hex(call.value)} if call.value else said


def _after(hashed: str, hashes: Sequence[str]) -> int:
    """The place after the last of some hashes that is this one; 0 if none is."""
    return max((place for place, one in enumerate(hashes, 1) if one == hashed), default=0)


def _market(base_fee: Any, tip: Any, price: Any) -> Market:
    if base_fee is None:
        return Market(None, quantity(price))
    suggested = DEFAULT_TIP
    with suppress(NoAnswer):
        suggested = quantity(tip)
    return Market(quantity(base_fee), suggested)


def _inclusion(receipt: Mapping[str, Any], asked: str) -> Inclusion:
    try:
        found = Inclusion(
            transaction=_text(receipt["transactionHash"]),
            block=quantity(receipt["blockNumber"]),
            block_hash=_text(receipt["blockHash"]),
            gas_used=quantity(receipt["gasUsed"]),
            succeeded=quantity(receipt["status"]) == 1,
        )
    except LookupError as error:
        raise NoAnswer(f"the node's receipt of {asked} lacks {error}.") from error
    if found.transaction != asked:
        raise NoAnswer(f"the node answered with the receipt of another transaction than {asked}.")
    return found


def _block(answer: Any) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping):
        raise NoAnswer("the node does not give its latest block.")
    return answer


def quantity(answer: Any) -> int:
    """A quantity, as JSON-RPC writes it or as Python has it."""
    if isinstance(answer, int):
        return answer
    try:
        return int(answer, 16)
    except (TypeError, ValueError) as error:
        raise NoAnswer("the node answered with something else than a number.") from error


def _text(answer: Any) -> str:
    """A hash, as 0x and hex in small letters."""
    return "0x" + bytes(answer).hex() if isinstance(answer, bytes) else str(answer).lower()


def _bytes(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else bytes.fromhex(str(answer).removeprefix("0x"))
