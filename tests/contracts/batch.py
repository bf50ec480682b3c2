"""Thousands of calls of contracts in a few free ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from eth_abi.abi import decode as decode_values
from eth_abi.abi import encode as encode_values

from ml.artifact import abi
from ml.artifact.keccak import keccak256
from ml.chain.registry import ModelRegistry

GAS = 10**12
"""A free call may take as much as it likes."""


class Outcome(NamedTuple):
    """What came of one call."""

    succeeded: bool
    gas_used: int
    returned: bytes


class Played(NamedTuple):
    """What came of a history: one refusal (empty if there was none) and one digest per call."""

    refusals: list[bytes]
    digests: list[bytes]
    last: bytes


@dataclass(frozen=True)
class Batch:
    """The deployed BatchCaller; see its source for what its functions do."""

    contract: Any
    registry: ModelRegistry

    @property
    def address(self) -> str:
        return str(self.contract.address)

    @cached_property
    def interface(self) -> Interface:
        """That of the registry."""
        return Interface.of(self.registry.contract.contract_type)

    @property
    def chain_id(self) -> int:
        return self.registry.chain_id

    def call_each(self, target: str, calls: Sequence[bytes]) -> list[Outcome]:
        outcomes = free_call(self.contract, "callEach", target, calls)
        return [Outcome(*outcome) for outcome in outcomes]

    def play(self, model: bytes, calls: Sequence[bytes]) -> Played:
        return Played(*free_call(self.contract, "play", self.registry.address, model, calls))


def encode(contract: Any, function: str, *arguments: Any) -> bytes:
    """The calldata of a call: what Ape's own encoder gives, many times as fast."""
    selector, inputs, _ = _signature(contract.contract_type, function)
    return selector + encode_values(inputs, arguments)


def free_call(contract: Any, function: str, *arguments: Any) -> Any:
    """Call a function with all the gas it may want, and decode what it returns."""
    call = {"to": contract.address, "data": encode(contract, function, *arguments), "gas": GAS}
    return decoded(contract, function, contract.provider.web3.eth.call(call))


def decoded(contract: Any, function: str, returned: bytes) -> Any:
    """What a function returned, as Python values."""
    _, _, outputs = _signature(contract.contract_type, function)
    values = decode_values(outputs, returned)
    return values[0] if len(values) == 1 else values


def selectors(contract_type: Any) -> dict[str, bytes]:
    """The first four bytes by which each function and each error of a contract is known."""
    every = [*contract_type.methods, *contract_type.errors]
    return {one.name: keccak256(one.selector.encode())[:4] for one in every}


@dataclass(frozen=True)
class Interface:
    """A contract's functions and errors, for encoding without asking its type each time."""

    selectors: dict[str, bytes]
    """Of functions and errors, by name."""
    about_a_model: frozenset[str]
    """Names of the errors whose first value is the model's id."""

    @classmethod
    def of(cls, contract_type: Any) -> Interface:
        named = frozenset(
            error.name
            for error in contract_type.errors
            if error.inputs and error.inputs[0].name == "modelId"
        )
        return cls(selectors(contract_type), named)

    def call(self, name: str, *values: Any) -> bytes:
        """The calldata of a function; structs in values are flat."""
        return self.selectors[name] + abi.encode(*values)

    def error(self, name: str, values: Mapping[str, Any], model: bytes = b"") -> bytes:
        """The data of an error; ``values`` are those that it has besides a model's id."""
        numbers = [int(value, 16) if isinstance(value, str) else value for value in values.values()]
        of = [model] if name in self.about_a_model else []
        return self.call(name, *of, *numbers)


def effort(cases: int) -> int:
    """How many cases a search tries: FUZZ times as many as usual, for long runs."""
    return max(1, round(cases * float(os.environ.get("FUZZ", "1"))))


_SIGNATURES: dict[tuple[str, str], tuple[bytes, list[str], list[str]]] = {}


def _signature(contract_type: Any, function: str) -> tuple[bytes, list[str], list[str]]:
    key = (contract_type.name, function)
    if key not in _SIGNATURES:
        method = next(one for one in contract_type.methods if one.name == function)
        inputs = [item.canonical_type for item in method.inputs]
        outputs = [item.canonical_type for item in method.outputs]
        _SIGNATURES[key] = (keccak256(method.selector.encode())[:4], inputs, outputs)
    return _SIGNATURES[key]
