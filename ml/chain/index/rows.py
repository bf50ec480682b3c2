"""What the tables say of an event, and an event from what they say. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from eth_utils.address import to_checksum_address

from ml.chain import logs
from ml.chain.index.blocks import Log
from ml.chain.logs import Event
from ml.chain.provenance_log import recorded_of
from ml.errors import NotVerified

if TYPE_CHECKING:
    from ethpm_types.abi import EventABI
    from sqlalchemy import Row

Values = dict[str, Any]
"""A row, by its columns' names."""

_ROLE_EVENTS: Final = frozenset({"RoleGranted", "RoleRevoked"})


@dataclass(frozen=True)
class Followed:
    """A contract whose events are indexed."""

    name: str
    address: bytes
    first_block: int
    """Where it was created; its events begin there."""
    abis: Sequence[EventABI]

    @property
    def text(self) -> str:
        """Its address, with its checksum."""
        return str(to_checksum_address(self.address))


@dataclass
class Rows:
    """The rows of some events, by their tables."""

    events: list[Values]
    mentions: list[Values]
    models: list[Values]
    versions: list[Values]


def rows_of(answer: Sequence[Log], contracts: Iterable[Followed]) -> Rows:
    """The rows for a node's logs.

    Raises:
        NotVerified: a log is not one of those contracts', or cannot be.
    """
    by_contract: dict[str, list[Log]] = defaultdict(list)
    for log in answer:
        by_contract[str(log["address"]).lower()].append(log)
    made = Rows([], [], [], [])
    for contract in contracts:
        own = by_contract.pop(contract.text.lower(), [])
        decoded = logs.decode(own, contract.text, (), contract.abis)
        abis = {abi.name: abi for abi in contract.abis}
        for log, event in zip(own, decoded, strict=True):
            _add(made, contract, log, event, abis[event.name])
    if by_contract:
        raise NotVerified("the node answered with events of other contracts: ask another node.")
    return made


def _add(made: Rows, contract: Followed, log: Log, event: Event, abi: EventABI) -> None:
    place = {"block": event.block, "log_index": event.log_index}
    topics = [_raw(topic) for topic in log["topics"]]
    made.events.append(
        {
            **place,
            "contract": contract.address,
            "transaction": _raw(log["transactionHash"]),
            **{f"topic{n}": topics[n] if n < len(topics) else None for n in range(4)},
            "data": _raw(log["data"]),
        }
    )
    made.mentions += [{"value": value, **place} for value in sorted(mentioned(event, abi))]
    said = event.arguments
    whose = {"contract": contract.address, "block": event.block}
    if event.name == "ModelCreated":
        origin = bytes(said["originModel"])
        forked = {
            "origin_model": origin if any(origin) else None,
            "origin_version": said["originVersion"],
        }
        made.models.append({**whose, "model": event.model, **forked})
    elif event.name == "VersionRegistered":
        numbered = {"number": said["version"], "parent": said["details"][0]}
        weights = bytes(said["weights"])
        made.versions.append({**whose, "model": event.model, **numbered, "weights": weights})


def mentioned(event: Event, abi: EventABI) -> set[bytes]:
    """Every address, id and digest that an event names, zeros apart.

    A role is also its model; a record of the log is also its leaf and the digest of its metadata.
    """
    found = set()
    for item in abi.inputs:
        found |= set(_values(item, event.arguments[item.name or ""]))
    if event.name in _ROLE_EVENTS:
        found.add(bytes(event.arguments["role"])[:-1] + b"\0")
    if event.name == "Recorded":
        recorded = recorded_of(event)
        found |= {recorded.leaf, recorded.statement.metadata}
    return {value for value in found if any(value)}


def _values(item: Any, value: Any) -> Iterator[bytes]:
    """The addresses and digests in one argument, whose type is that of ``item``."""
    if item.type.endswith("[]"):
        inner = item.model_copy(update={"type": item.type.removesuffix("[]")})
        for one in value:
            yield from _values(inner, one)
    elif item.type == "address":
        yield bytes.fromhex(value[2:])
    elif item.type == "bytes32":
        yield bytes(value)
    elif item.type == "tuple":
        for component, one in zip(item.components, value, strict=True):
            yield from _values(component, one)


def events_of(rows: Iterable[Row[Any]], contracts: Mapping[bytes, Followed]) -> list[Event]:
    """The events that rows of the table of events stand for, in their order.

    Raises:
        NotVerified: a row is not one of these contracts' events.
    """
    found: list[Event] = []
    portion: list[Log] = []
    of: bytes = b""
    for row in rows:
        if row.contract != of:
            found += _decoded(portion, contracts.get(of))
            portion, of = [], row.contract
        portion.append(log_of(row))
    return found + _decoded(portion, contracts.get(of))


def log_of(row: Row[Any]) -> Log:
    """A row of the table of events as a node would tell it."""
    topics = (row.topic0, row.topic1, row.topic2, row.topic3)
    return {
        "address": "0x" + row.contract.hex(),
        "blockNumber": hex(row.block),
        "logIndex": hex(row.log_index),
        "transactionHash": "0x" + row.transaction.hex(),
        "topics": ["0x" + topic.hex() for topic in topics if topic is not None],
        "data": "0x" + row.data.hex(),
    }


def _decoded(portion: list[Log], contract: Followed | None) -> list[Event]:
    if not portion:
        return []
    if contract is None:
        raise NotVerified("the index has events of a contract that is not known here.")
    return logs.decode(portion, contract.text, (), contract.abis)


def _raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
