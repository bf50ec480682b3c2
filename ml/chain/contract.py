"""What the typed clients of deployed contracts share: reading, sending, and searching events.

Every writing call is tried as a free call first, so that what the contract would refuse costs
nothing and is told in one sentence; then it goes through the outbox (`ml.chain.outbox`), and
returns once it is mined and confirmed as the network asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from ape.contracts import ContractInstance
from ape.contracts.base import ContractMethodHandler
from ape.exceptions import TransactionError
from eth_abi.exceptions import EncodingError

from ml.chain import logs, values
from ml.chain.logs import BLOCKS_PER_CALL, Event, Topics
from ml.chain.outbox.entry import Call, Entry, State
from ml.chain.outbox.opening import outbox_of
from ml.chain.outbox.queue import Order
from ml.chain.outbox.reading import quantity
from ml.chain.outbox.rpc import Question, Rpc, RpcError
from ml.chain.outbox.trials import Reverts, returned, try_call
from ml.chain.records import Receipt
from ml.chain.refusals import ContractRefused, refusal, reverted_with
from ml.errors import ModelproofError, NotVerified

if TYPE_CHECKING:
    from ape.api import AccountAPI

Sentences: TypeAlias = Mapping[str, Callable[[Mapping[str, Any]], str]]
"""By the name of a custom error: a sentence, from the values that the error carries."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What a node tells of a contract in one answer."""

    block: int
    """The latest."""
    views: tuple[Any, ...]
    """What was returned, fields by their names; None where the contract refused."""
    events: list[Event] | None
    """Oldest first; None where the node would not search so many blocks."""


class DeployedContract:
    """One deployed contract. Its events begin at the block ``deployed_at``."""

    sentences: ClassVar[Sentences] = MappingProxyType({})
    """For the custom errors that no other contract has."""

    def __init__(self, contract: ContractInstance, deployed_at: int = 0) -> None:
        self.contract = contract
        self.deployed_at = deployed_at
        self._functions: dict[str, ContractMethodHandler] = {}

    @property
    def address(self) -> str:
        """Where the contract stands."""
        return str(self.contract.address)

    @property
    def chain_id(self) -> int:
        """Of the chain that it stands on (EIP-155)."""
        return int(self.contract.provider.chain_id)

    def block_time(self, block: int | None = None) -> int:
        """When a block was made, the latest if none is named, in seconds since 1970."""
        found = self.contract.provider.get_block("latest" if block is None else block)
        return int(found.timestamp)

    def _call(self, function: str, *arguments: Any) -> Any:
        """Read: a free call, on the latest block."""
        return self._try(function, arguments, {})

    def _send(self, function: str, *arguments: Any, sender: AccountAPI) -> tuple[Any, Receipt]:
        """Try, send and wait; return what the trial returned, and the receipt.

        What an earlier run left behind that was to do the same is finished, and not sent again.
        """
        queue = outbox_of(self.contract.provider).queue(sender)
        order = self._order(function, arguments, sender)
        with self._refusing():
            (entry,) = queue.put([order])
        (mined,) = queue.wait([entry])
        queue.deliver([mined])
        return self._decoded(function, mined.payload), self._receipt(mined)

    def _send_all(
        self, function: str, rows: Sequence[tuple[Any, ...]], sender: AccountAPI
    ) -> list[Receipt]:
        """Send many calls of one function, which do not depend on each other, and await them.

        Raises:
            ContractRefused: the contract would refuse one of them, and none is sent; or it refused
                one, as another transaction came in between.
        """
        queue = outbox_of(self.contract.provider).queue(sender)
        with self._refusing():
            entries = queue.put([self._order(function, row, sender) for row in rows])
        mined = queue.wait(entries)
        queue.deliver(mined)
        return [self._receipt(entry) for entry in mined]

    def _order(self, function: str, arguments: tuple[Any, ...], sender: AccountAPI) -> Order:
        data = self._encoded(function, arguments)
        label = f"{self.contract.contract_type.name}.{function}"
        first = arguments[0] if arguments else None
        return Order(
            Call(str(sender.address), self.address, data, label=label),
            subject="0x" + first.hex() if isinstance(first, bytes) else None,
        )

    def _receipt(self, entry: Entry) -> Receipt:
        """The receipt of an entry that the queue is done with.

        Raises:
            ContractRefused: the contract refused it, as another transaction came in between.
        """
        if entry.state is State.REFUSED:
            if entry.ran_out_of_gas:
                raise ModelproofError(
                    f"{entry.call.label} used up the {entry.latest.gas} gas that it was given: run"
                    " this again."
                )
            raise self._told(refusal(entry.reverted_with, self.contract.contract_type.errors))
        found = entry.inclusion
        if found is None:
            raise ModelproofError(f"{entry.call.label} was dropped: {entry.failure}.")
        return Receipt(found.transaction, found.block, found.gas_used)

    def gas_used(self, transactions: Iterable[str]) -> list[int]:
        """What transactions have cost, by their hashes.

        Raises:
            NotVerified: the node does not know one.
        """
        asked = list(transactions)
        receipts = self._rpc.ask_all([("eth_getTransactionReceipt", [each]) for each in asked])
        for transaction, receipt in zip(asked, receipts, strict=True):
            if receipt is None or isinstance(receipt, RpcError):
                raise NotVerified(f"the node has no receipt of {transaction}: ask another node.")
        return [int(str(receipt["gasUsed"]), 0) for receipt in receipts]

    @property
    def _rpc(self) -> Rpc:
        return Rpc.of(self.contract.provider)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Say it in the contract's words where a call would revert."""
        try:
            yield
        except Reverts as error:
            refused = refusal(reverted_with(error), self.contract.contract_type.errors)
            raise self._told(refused) from error

    def _view(self, function: str, *arguments: Any) -> Any:
        """Call a view that returns one struct, or a list of one kind: fields by their names.

        Ape would make a class for every struct that is read, which takes ten times as long.
        """
        return self._viewed(function, self._trial(function, arguments, {}))

    def _viewed(self, function: str, raw: bytes) -> Any:
        """What a view returned, as `_view`."""
        abi = self._function(function).abis[0]
        (output,) = abi.outputs
        (value,) = values.decode([output.canonical_type], raw)
        if output.canonical_type.endswith("[]"):
            return [values.named(output.components or (), each) for each in value]
        return values.named(output.components or (), value)

    def glance(
        self, views: Sequence[tuple[str, tuple[Any, ...]]], topics: Topics = (), since: int = 0
    ) -> Glance:
        """Call several views and search recent events, in one request: of about one moment.

        Args:
            views: of which each returns one struct, by name, with what they take
            topics: which events to look for; empty for none
            since: the block from which on to look for them

        Raises:
            NotVerified: the node's answer holds something else than what was asked for.
        """
        # what is asked later cannot be older: who finds an event finds what it is about
        asked: list[Question] = [("eth_blockNumber", [])]
        if topics:
            asked.append(("eth_getLogs", [self._query(topics, since, "latest")]))
        for function, arguments in views:
            data = "0x" + self._encoded(function, arguments).hex()
            asked.append(("eth_call", [{"to": self.address, "data": data}, "latest"]))
        answers = self._rpc.ask_all(asked)
        block, told = quantity(answers[0]), answers[1] if topics else []
        known, calls = self.contract.contract_type.events, answers[len(asked) - len(views) :]
        return Glance(
            block,
            tuple(self._seen(name, each) for (name, _), each in zip(views, calls, strict=True)),
            None if isinstance(told, RpcError) else logs.decode(told, self.address, topics, known),
        )

    def _seen(self, function: str, answer: Any) -> Any:
        try:
            with self._refusing():
                return self._viewed(function, returned(answer))
        except ContractRefused:
            return None

    def _query(self, topics: Topics, first: int, last: int | str) -> dict[str, Any]:
        return {
            "address": self.address,
            "fromBlock": hex(first),
            "toBlock": last if isinstance(last, str) else hex(last),
            "topics": topics,
        }

    def _try(self, function: str, arguments: tuple[Any, ...], options: dict[str, str]) -> Any:
        return self._decoded(function, self._trial(function, arguments, options))

    def _trial(self, function: str, arguments: tuple[Any, ...], options: dict[str, str]) -> bytes:
        data = "0x" + self._encoded(function, arguments).hex()
        with self._refusing():
            return try_call(self._rpc, {**options, "to": self.address, "data": data})

    def _encoded(self, function: str, arguments: tuple[Any, ...]) -> bytes:
        try:
            return bytes(self._function(function).encode_input(*arguments))
        except (EncodingError, UnicodeEncodeError) as error:
            raise ModelproofError(f"the contract's {function} cannot take this: {error}") from error

    def _function(self, name: str) -> ContractMethodHandler:
        """A function by its name, with all of its overloads.

        As an attribute of Ape's contract it would take a class for each of the custom errors, and
        for these IPython, which takes a fifth of a second to import.
        """
        if name not in self._functions:
            abis = [abi for abi in self.contract.contract_type.methods if abi.name == name]
            if not abis:
                raise AttributeError(f"{self.contract.contract_type.name} has no function {name}")
            self._functions[name] = ContractMethodHandler(self.contract, abis)
        return self._functions[name]

    def _decoded(self, function: str, raw: bytes) -> Any:
        abi = self._function(function).abis[0]
        ecosystem = self.contract.provider.network.ecosystem
        decoded = ecosystem.decode_returndata(abi, raw)
        return decoded[0] if len(decoded) == 1 else decoded

    def _events(self, name: str, *indexed: str | None) -> Iterator[Event]:
        """The events of this name, oldest first.

        Args:
            name: as in Solidity
            indexed: the topics after the first, 0x and hex, None for any

        Raises:
            NotVerified: the node's answer holds something else than what was asked for.
        """
        abi = next(e for e in self.contract.contract_type.events if e.name == name)
        yield from self.search([logs.topic_of(abi), *indexed])

    def search(self, topics: Topics) -> Iterator[Event]:
        """The events that match a filter, oldest first, asked for in portions.

        Raises:
            NotVerified: the node's answer holds something else than what was asked for.
        """
        provider = self.contract.provider
        known = self.contract.contract_type.events
        head = provider.get_block("latest").number or 0

        def ask(first: int, last: int) -> list[Event]:
            answer = provider.make_request("eth_getLogs", [self._query(topics, first, last)])
            return logs.decode(answer, self.address, topics, known)

        for portion in logs.portions(ask, self.deployed_at, head, BLOCKS_PER_CALL):
            yield from portion

    def _told(self, error: ContractRefused) -> ContractRefused:
        """The refusal with the contract's own sentence, where it has one."""
        sentence = self.sentences.get(error.name)
        return (
            ContractRefused(error.name, error.values, sentence(error.values)) if sentence else error
        )


@contextmanager
def paying(sender: AccountAPI) -> Iterator[None]:
    """Say it plainly where a transaction fails because its sender has nothing to pay with."""
    try:
        yield
    except TransactionError as error:
        if sender.balance:
            raise
        raise ModelproofError(
            f"{sender.address} has no ether on this chain to pay for gas with: fund it."
        ) from error
