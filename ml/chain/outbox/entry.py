"""What the outbox keeps of one transaction. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from ml.artifact import abi
from ml.artifact.keccak import keccak256

BlockId: TypeAlias = tuple[int, str]
"""A block's number, and its hash as 0x and hex."""


class State(StrEnum):
    """How far an entry has come."""

    PREPARED = "prepared"
    """Signed and written down. It may have been sent by a process that was killed right after."""
    SENT = "sent"
    """A node has it."""
    MINED = "mined"
    """It is in a block, which a reorganisation may still remove."""
    FINAL = "final"
    """It is in a block that is deep enough not to be looked at again."""
    REFUSED = "refused"
    """The contract refused it, in a block or when it was to be sent again."""
    DROPPED = "dropped"
    """It was taken back, or a node refused it for good."""


OPEN: Final = (State.PREPARED, State.SENT)
"""Not in a block, as far as is known."""
WATCHED: Final = (*OPEN, State.MINED)
"""What the queue still looks after."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a transaction is to do, whatever its nonce and its fees."""

    sender: str
    to: str
    data: bytes
    value: int = 0
    """Wei."""
    label: str = ""
    """For people."""

    def operation(self, chain_id: int) -> bytes:
        """The digest of what is done, 32 bytes: two calls with the same one do the same."""
        return keccak256(
            abi.encode(
                chain_id,
                int(self.sender, 16),
                int(self.to, 16),
                self.value,
                keccak256(self.data),
            )
        )


def key_of(operation: bytes, occurrence: int) -> bytes:
    """The idempotency key of an entry, 32 bytes: the same operation, meant again, has another."""
    return keccak256(abi.encode(operation, occurrence))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction of an entry; another one replaces it with higher fees."""

    hash: str
    """0x and hex."""
    raw: bytes
    """As nodes take it."""
    nonce: int
    gas: int
    max_fee: int
    """Wei per gas, at most."""
    priority_fee: int
    """Of these for whoever makes the block; ``max_fee`` itself on chains without EIP-1559."""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The block that a transaction is in, and how it went there."""

    transaction: str
    block: int
    block_hash: str
    gas_used: int
    succeeded: bool

    @property
    def place(self) -> BlockId:
        """The block."""
        return self.block, self.block_hash


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction that is to be on the chain once."""

    id: int
    key: bytes
    call: Call
    occurrence: int
    """How many times the same was done before, on purpose."""
    state: State
    nonce: int
    attempts: tuple[Attempt, ...]
    """The oldest first; any of them may be mined, and one at most."""
    payload: bytes = b""
    """What goes with it for whoever sent it, such as what the call returned when it was tried."""
    inclusion: Inclusion | None = None
    reverted_with: bytes = b""
    """What the contract gave as its reason (EIP-838), if it refused."""
    failure: str = ""
    """Why it was refused or dropped, or is not sent for now, in words."""
    reported: bool = False
    """Whether the result has reached whoever asked for it."""
    created: str = ""
    """When, in UTC (ISO 8601)."""
    changed: str = ""

    @property
    def latest(self) -> Attempt:
        """The attempt that replaces all the others with its nonce."""
        return next(one for one in reversed(self.attempts) if one.nonce == self.nonce)

    def within(self, cap: int | None) -> Attempt | None:
        """The newest attempt with its nonce that pays a cap at most, in wei per gas."""
        fitting = (one for one in self.attempts if cap is None or one.max_fee <= cap)
        return next((one for one in reversed(list(fitting)) if one.nonce == self.nonce), None)

    @property
    def mined(self) -> Attempt | None:
        """The attempt that is in a block."""
        found = self.inclusion
        return next((one for one in self.attempts if found and one.hash == found.transaction), None)

    @property
    def is_open(self) -> bool:
        """Whether it is in no block yet."""
        return self.state in OPEN

    @property
    def is_in_a_block(self) -> bool:
        """Whether it is in a block, as far as is known, whatever it came to there."""
        return self.inclusion is not None

    @property
    def is_held(self) -> bool:
        """Whether it is in no block and not sent for now; it gives way to whatever needs its nonce.

        It is tried again whenever the queue looks, since as long as its nonce is not used nobody
        can know that it will never do.
        """
        return self.is_open and bool(self.failure)

    @property
    def ran_out_of_gas(self) -> bool:
        """Whether it failed in a block because it was given too little gas (EIP-150)."""
        found = self.inclusion
        if found is None or found.succeeded or self.reverted_with:
            return False
        return found.gas_used * 64 >= self.latest.gas * 63

    @property
    def has_succeeded(self) -> bool:
        """Whether it is in a block and did there what it was to do."""
        return self.state in {State.MINED, State.FINAL}
