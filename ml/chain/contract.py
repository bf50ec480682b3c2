"""What the typed clients of deployed contracts share: reading, sending, and searching events.

Every writing call is tried as a free call first, so that what the contract would refuse costs
nothing and is told in one sentence; then it is sent, and returns once it is mined and confirmed as
the network asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from ape.contracts import ContractInstance
from ape.exceptions import ContractLogicError as ApeContractLogicError
from ape.exceptions import TransactionError
from eth_abi.exceptions import EncodingError
from web3.exceptions import ContractLogicError

from ml.chain import logs
from ml.chain.logs import Event, Topics
from ml.chain.records import Receipt
from ml.chain.refusals import ContractRefused, overtaken, refusal, reverted_with
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import AccountAPI

Sentences: TypeAlias = Mapping[str, Callable[[Mapping[str, Any]], str]]
"""By the name of a custom error: a sentence, from the values that the error carries."""

BLOCKS_PER_CALL: Final = 10_000
"""Public nodes refuse to search more blocks at once."""


class DeployedContract:
    """One deployed contract. Its events begin at the block ``deployed_at``."""

    sentences: ClassVar[Sentences] = MappingProxyType({})
    """For the custom errors that no other contract has."""

    def __init__(self, contract: ContractInstance, deployed_at: int = 0) -> None:
        self.contract = contract
        self.deployed_at = deployed_at

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
        """Try, send and wait; return what the trial returned, and the receipt."""
        returned = self._try(function, arguments, {"from": sender.address})
        try:
            with paying(sender):
                mined = getattr(self.contract, function)(*arguments, sender=sender)
        except ApeContractLogicError as error:  # another transaction came in between
            refused = overtaken(error, self.contract.contract_type.errors)
            raise self._told(refused) from error
        return returned, Receipt(mined.txn_hash, mined.block_number, mined.gas_used)

    def _try(self, function: str, arguments: tuple[Any, ...], options: dict[str, str]) -> Any:
        handler = getattr(self.contract, function)
        provider = self.contract.provider
        try:
            data = handler.encode_input(*arguments)
        except (EncodingError, UnicodeEncodeError) as error:
            raise ModelproofError(f"the contract's {function} cannot take this: {error}") from error
        call = {**options, "to": self.address, "data": data}
        try:
            raw = provider.web3.eth.call(call)
        except ContractLogicError as error:
            refused = refusal(reverted_with(error), self.contract.contract_type.errors)
            raise self._told(refused) from error
        decoded = provider.network.ecosystem.decode_returndata(handler.abis[0], raw)
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
        for first in range(self.deployed_at, head + 1, BLOCKS_PER_CALL):
            query = {
                "address": self.address,
                "fromBlock": hex(first),
                "toBlock": hex(min(first + BLOCKS_PER_CALL - 1, head)),
                "topics": topics,
            }
            answer = provider.make_request("eth_getLogs", [query])
            yield from logs.decode(answer, self.address, topics, known)

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
