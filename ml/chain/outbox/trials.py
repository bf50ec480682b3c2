"""Trying calls without sending them: what each would return, what it takes, and why it reverts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ml.chain.outbox.entry import Call
from ml.chain.outbox.reading import quantity, raw
from ml.chain.outbox.rpc import Asking, NoAnswer, Rpc, RpcError

_SELECTOR: Final = 4
"""Bytes that say which function is called."""
_MARGIN: Final = (3, 2)
_MORE_GAS: Final = 50_000
"""What is given over the node's estimate: transactions in between may make a call dearer, such as a
record that completes several subtrees of a log. What is not used is not paid for."""


class Reverts(Exception):
    """A call that would revert now, with ``data`` as the contract's reason."""

    def __init__(self, message: str, data: Any) -> None:
        super().__init__(message)
        self.data = data


@dataclass(frozen=True, slots=True)
class Tried:
    """A call that would do now."""

    gas: int
    """What to give to it, if a block takes that much."""
    returned: bytes


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
    return raw(answer)


def trials(rpc: Rpc, calls: Sequence[Call]) -> Asking[list[Tried | Reverts]]:
    """For each call what would come of it now.

    Estimating takes a node many trials of one call: of calls of one function with equally long
    data only one is estimated. It would revert if either answer says so.
    """
    alike = [(call.to, call.data[:_SELECTOR], len(call.data)) for call in calls]
    estimated = dict(zip(alike, calls, strict=True))

    def read(answers: Sequence[Any]) -> list[Tried | Reverts]:
        gas = dict(zip(estimated, answers, strict=False))
        tried = zip(calls, alike, answers[len(estimated) :], strict=True)
        return [_tried(rpc, call, answer, gas[kind]) for call, kind, answer in tried]

    return Asking(
        [
            *(("eth_estimateGas", [as_rpc(call)]) for call in estimated.values()),
            *(("eth_call", [as_rpc(call), "latest"]) for call in calls),
        ],
        read,
    )


def _tried(rpc: Rpc, call: Call, answer: Any, estimate: Any) -> Tried | Reverts:
    try:
        told = returned(answer)
        if isinstance(estimate, RpcError):
            raise _why(rpc, call, estimate)
    except Reverts as reverts:
        return reverts
    times, by = _MARGIN
    return Tried(quantity(estimate) * times // by + _MORE_GAS, told)


def _why(rpc: Rpc, call: Call, refused: RpcError) -> Reverts:
    """Why gas could not be estimated: some nodes say it of calls alone."""
    if not refused.data:
        try:
            try_call(rpc, as_rpc(call))
        except Reverts as reverts:
            return reverts
    return _reverts(refused)


def _reverts(refused: RpcError) -> Reverts:
    """What a node refused, as the contract's refusal.

    Raises:
        NoAnswer: it is not the call that fails.
    """
    if not refused.is_of_the_call:
        raise NoAnswer(f"the node does not try the call: {refused.message}")
    return Reverts(refused.message, refused.data)


def as_rpc(call: Call) -> dict[str, str]:
    """A call as JSON-RPC has it."""
    said = {"from": call.sender, "to": call.to, "data": "0x" + call.data.hex()}
    return {**said, "value": hex(call.value)} if call.value else said
