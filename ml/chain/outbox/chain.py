"""What the queue asks a chain, and what it believes of the answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

from ml.chain.logs import portions
from ml.chain.outbox.answers import Answer, meaning_of
from ml.chain.outbox.entry import Attempt, BlockId, Call, Entry, Inclusion
from ml.chain.outbox.fees import Market
from ml.chain.outbox.reading import (
    block_of,
    hash_of,
    inclusion,
    market,
    parent_of,
    quantity,
    text,
    transactions_of,
)
from ml.chain.outbox.rpc import Asking, NoAnswer, Question, Rpc, RpcError, both
from ml.chain.outbox.trials import Reverts, Tried, as_rpc, trials, try_call
from ml.errors import ModelproofError

T = TypeVar("T")


class OtherChain(ModelproofError):
    """The node is of another chain than the journal."""


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
    head: int
    """The number of the latest block."""


Prospect: TypeAlias = tuple[Standing, list[Tried | Reverts]]
"""How a sender stands, and for each call that it is to make what would come of it."""


class Chain:
    """One chain, through one node.

    Raises (all methods):
        NoAnswer: there is none, or none that makes sense.
    """

    def __init__(self, rpc: Rpc, chain_id: int, genesis: str) -> None:
        self._rpc = rpc
        self.chain_id = chain_id
        self.genesis = genesis
        self._below: dict[BlockId, BlockId] = {}  # by a block the one that it was made on

    def standing(self, sender: str) -> Standing:
        """How a sender stands now.

        Raises:
            OtherChain: the node has another first block than the chain that was connected to.
        """
        return self._rpc.learn(self._standing(sender))

    def _standing(self, sender: str) -> Asking[Standing]:
        return Asking(
            [
                ("eth_getTransactionCount", [sender, "latest"]),
                ("eth_getTransactionCount", [sender, "pending"]),
                ("eth_getBalance", [sender, "latest"]),
                ("eth_getBlockByNumber", ["latest", False]),
                ("eth_getBlockByNumber", ["0x0", False]),
                ("eth_maxPriorityFeePerGas", []),
                ("eth_gasPrice", []),
            ],
            self._as_standing,
        )

    def _as_standing(self, answers: Sequence[Any]) -> Standing:
        mined, pending, balance, latest, first, tip, price = answers
        latest, first = block_of(latest), block_of(first)
        if hash_of(first) != self.genesis:
            raise OtherChain(
                f"the node began with block {hash_of(first)[:10]}…, and the chain that was"
                f" connected to with {self.genesis[:10]}…: nothing is sent; connect again."
            )
        count = quantity(mined)
        return Standing(
            mined=count,
            # nodes without a pool of their own have no answer to that
            pending=count if isinstance(pending, RpcError) else max(count, quantity(pending)),
            balance=quantity(balance),
            market=market(latest.get("baseFeePerGas"), tip, price),
            gas_limit=quantity(latest.get("gasLimit")),
            head=quantity(latest.get("number")),
        )

    def learn(self, asking: Asking[T]) -> T:
        """What comes of asking this."""
        return self._rpc.learn(asking)

    def prospect(self, sender: str, calls: Sequence[Call]) -> Asking[Prospect]:
        """How a sender stands now, and what would come of calls.

        Raises:
            OtherChain: see `standing`.
        """
        return both(self._standing(sender), trials(self._rpc, calls))

    def count(self, sender: str, depth: int = 0) -> int:
        """A sender's transactions in blocks that have so many others on top of them."""
        block = "latest"
        if depth:
            block = hex(max(0, quantity(self._rpc.ask("eth_blockNumber")) - depth))
        return quantity(self._rpc.ask("eth_getTransactionCount", sender, block))

    def trial(self, call: Call, block: int | None = None) -> bytes:
        """What a call would return, on the latest block or on an earlier one.

        Raises:
            Reverts: it would revert.
        """
        return try_call(self._rpc, as_rpc(call), block)

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
        answer, *receipts = self._rpc.ask_all(
            [
                ("eth_getBlockByNumber", ["latest", False]),
                *(("eth_getTransactionReceipt", [hashed]) for _, hashed in asked),
            ]
        )
        latest = block_of(answer)
        head = quantity(latest.get("number"))
        told: list[tuple[int, Inclusion]] = []
        for (entry, hashed), receipt in zip(asked, receipts, strict=True):
            if isinstance(receipt, RpcError):
                raise NoAnswer(f"the node does not say where {hashed} is: {receipt.message}")
            if receipt:
                told.append((entry, inclusion(receipt, hashed)))
        blocks = self._blocks({one.place for _, one in told}, {(head, hash_of(latest)): latest})
        holding = {place: transactions_of(block) for place, block in blocks.items()}
        found = defaultdict[int, list[Inclusion]](list)
        for entry, one in told:
            if one.transaction in holding.get(one.place, ()):
                found[entry].append(one)
        return head, dict(found)

    def still_holds(self, places: Collection[BlockId]) -> Asking[bool]:
        """Whether the chain has all these blocks, by number and hash.

        Each names the one below it, so that of a row of them only the last is asked for.
        """
        last = self._last_of_rows(places)

        def read(answers: Sequence[Any]) -> bool:
            # of a block that there is not, some nodes say so in an error
            for place, block in zip(last, answers, strict=True):
                if not isinstance(block, Mapping) or hash_of(block) != place[1]:
                    return False
                self._learn(place, block)
            return True

        return Asking([_block_at(number) for number, _ in last], read)

    def head(self) -> Asking[int]:
        """The number of the latest block."""
        return Asking([("eth_blockNumber", [])], lambda answers: quantity(answers[0]))

    def _last_of_rows(self, places: Collection[BlockId]) -> list[BlockId]:
        """These blocks without those that are known to be below another one of them."""
        learned = self._below  # read once: another sender's thread may put another in its place
        below = {place: learned[place] for place in places if place in learned}
        self._below = below  # nobody asks for the others any more
        known = set(below.values())
        return sorted(place for place in places if place not in known)

    def _learn(self, place: BlockId, block: Mapping[str, Any]) -> None:
        """Which block is below one stays true, as its hash says so, wherever the chain goes."""
        parent = parent_of(block)
        if parent is not None:
            self._below[place] = (place[0] - 1, parent)

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
            hashes = [text(log["transactionHash"]) for log in logs]
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

    def _blocks(
        self, places: Collection[BlockId], known: Mapping[BlockId, Mapping[str, Any]]
    ) -> dict[BlockId, Mapping[str, Any]]:
        """Which of these blocks the chain has, with what it says of them.

        Args:
            places: their numbers and hashes
            known: what it has said of blocks of its own; others are asked for
        """
        found = {place: known[place] for place in places if place in known}
        numbers = sorted({place[0] for place in places if place not in known})
        answers = self._rpc.ask_all([_block_at(number) for number in numbers]) if numbers else []
        for number, block in zip(numbers, answers, strict=True):
            if isinstance(block, Mapping) and (place := (number, hash_of(block))) in places:
                found[place] = block
        for place, block in found.items():
            self._learn(place, block)
        return found


def _block_at(number: int) -> Question:
    return "eth_getBlockByNumber", [hex(number), False]


def _after(hashed: str, hashes: Sequence[str]) -> int:
    """The place after the last of some hashes that is this one; 0 if none is."""
    return max((place for place, one in enumerate(hashes, 1) if one == hashed), default=0)
