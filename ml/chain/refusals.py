"""The contract's custom errors as Python exceptions with one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from eth_abi.exceptions import DecodingError

from ml.artifact.keccak import keccak256
from ml.chain import values
from ml.chain.records import Role
from ml.chain.types import CompletionReason, Status, format_ppm, format_time
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ethpm_types.abi import ErrorABI


class ContractRefused(ModelproofError):
    """The contract reverted. ``name`` is its custom error, ``values`` what that error carries."""

    def __init__(self, name: str, values: Mapping[str, Any], sentence: str) -> None:
        super().__init__(sentence)
        self.name = name
        self.values = dict(values)


def _id(value: bytes) -> str:
    return "0x" + bytes(value).hex()


def _role(role: bytes) -> str:
    return f"{Role(bytes(role)[-1]).name} on model 0x{(bytes(role)[:-1] + bytes(1)).hex()}"


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "AccessControlUnauthorizedAccount": lambda v: (
        f"{v['account']} does not hold {_role(v['neededRole'])}: let an ADMIN grant it,"
        " or act from an account that holds it (`ape run roles list MODEL` lists them)."
    ),
    "UnknownModel": lambda v: (
        f"there is no model {_id(v['modelId'])} in this registry: check the id and the network."
    ),
    "UnknownVersion": lambda v: (
        f"model {_id(v['modelId'])} has no version {v['version']}: `ape run history` lists them."
    ),
    "UnknownRole": lambda v: f"{_id(v['role'])} is not the id of a role.",
    "ModelExists": lambda v: (
        f"you already have a model of this name ({_id(v['modelId'])}): choose another name."
    ),
    "InvalidName": lambda v: (
        f"a model's name has 1 to {v['max']} bytes, and this one has {v['length']}."
    ),
    "TextTooLong": lambda v: (
        f"a text has {v['length']} bytes and at most {v['max']} fit: shorten it."
    ),
    "MissingDigest": lambda _: "a digest that must be given is zero.",
    "ModelIsCompleted": lambda v: (
        f"training of this model is over ({CompletionReason(v['cause']).name}):"
        " an ADMIN can reopen it."
    ),
    "ModelIsNotCompleted": lambda _: "training of this model is not over: nothing to reopen.",
    "ModelIsOpen": lambda _: "an open model has no training that could end: nothing to complete.",
    "TooManyWaiting": lambda v: (
        f"{v['max']} versions wait for their validation already: validate or discard one first."
    ),
    "VersionsWait": lambda v: (
        f"versions that wait to be judged by the policy as it is: {v['waiting']}; validate or"
        " discard them first."
    ),
    "VersionIsPending": lambda v: (
        f"version {v['version']} waits for its validation: validate or discard it first."
    ),
    "VersionIsNotPending": lambda v: (
        f"version {v['version']} does not wait for a validation"
        + (f"; version {v['pending']} does." if v["pending"] else ".")
    ),
    "UnexpectedVersion": lambda v: (
        f"the next version is {v['expected']}, not {v['version']}: read the model again."
    ),
    "UnexpectedParent": lambda v: (
        f"the current version is {v['expected']}, not {v['parent']}: start from that one."
    ),
    "UnexpectedIteration": lambda v: (
        f"the next iteration is {v['expected']}, not {v['iteration']}: read the model again."
    ),
    "UnexpectedEpoch": lambda v: (
        f"the model is in epoch {v['expected']}, not {v['epoch']}: a rollback came between."
    ),
    "InactiveContributors": lambda v: (
        f"these contributors are not active clients (bitmap {v['inactive']:#x}):"
        " enrol or reinstate them, or leave them out."
    ),
    "CommitmentMismatch": lambda v: (
        f"version {v['version']} was registered with other weights, details or test set"
        " than this is about: take the registered file and the model's test set."
    ),
    "AccuracyOutOfRange": lambda v: (
        f"an accuracy of {v['accuracy']} ppm is out of range: 0 to {v['max']}."
    ),
    "QuorumRequired": lambda v: (
        f"the policy asks for {v['quorum']} validators, and one alone cannot validate: each signs"
        " with `ape run validate MODEL --sign`, and anyone submits."
    ),
    "WrongSignatureCount": lambda v: (
        f"{v['given']} validators signed, and the policy asks for exactly {v['quorum']}."
    ),
    "EvaluationExpired": lambda v: (
        f"the signed evaluation was good until {format_time(v['deadline'])}, and it is"
        f" {format_time(v['time'])}: let the validators sign again."
    ),
    "SignersNotAscending": lambda v: (
        f"{v['signer']} comes after {v['previous']}: signatures are sorted by their signers'"
        " addresses, one of each."
    ),
    "InvalidSignature": lambda v: (
        f"signature {v['index'] + 1} is none that anybody can have made of this."
    ),
    "NotTheSameContent": lambda v: (
        f"the evaluations are of two contents (of v{v['firstVersion']} and v{v['secondVersion']}):"
        " only two of the same can contradict each other."
    ),
    "NotDifferent": lambda v: (
        f"both evaluations say the same of version {v['version']}: that is no contradiction."
    ),
    "SignersDiffer": lambda v: (
        f"{v['first']} signed one evaluation and {v['second']} the other: two validators may"
        " disagree."
    ),
    "EquivocationAlreadyRecorded": lambda v: (
        f"that {v['validator']} signed a contradiction, about version {v['version']}, is on record."
    ),
    "ClientMismatch": lambda v: (
        f"client {v['index']} is {v['client']}, and {v['signer']} signed the update: check what was"
        " signed, and for which registry."
    ),
    "UpdateNotOfThisVersion": lambda v: (
        f"the update is of epoch {v['epoch']}, iteration {v['iteration']}, base v{v['base']}:"
        f" version {v['version']} was made in another round."
    ),
    "UpdateNotIncluded": lambda v: (
        f"the update's leaf {_id(v['leaf'])} is not below the version's root {_id(v['root'])}."
    ),
    "AlreadyProved": lambda v: f"that client {v['index']} was hidden is on record.",
    "SuccessorIsZero": lambda _: "a successor needs the address of its registry, which is not 0.",
    "ValidatorNotIndependent": lambda v: (
        f"{v['validator']} holds TRAINER and the policy asks for independent validators."
    ),
    "VersionNotPassed": lambda v: (
        f"version {v['version']} is {Status(v['status']).name}: only one that PASSED will do."
    ),
    "AlreadyCurrent": lambda v: f"version {v['version']} is current and best already.",
    "VersionInUse": lambda v: (
        f"version {v['version']} is in use (current {v['current']}, best {v['best']}):"
        " roll back first."
    ),
    "IterationsExhausted": lambda v: (
        f"{v['iteration']} of {v['maxIterations']} iterations are used up: raise the limit first."
    ),
    "ClientIsZero": lambda v: f"client {v['index']} has no address.",
    "ClientIndexTaken": lambda v: f"client index {v['index']} belongs to {v['client']}.",
    "UnknownClient": lambda v: f"no client has the index {v['index']}.",
    "ClientNotActive": lambda v: f"client {v['index']} is excluded already.",
    "ClientNotExcluded": lambda v: f"client {v['index']} is active already.",
    "PolicyValueTooLarge": lambda v: (
        f"the policy holds {v['value']} where at most {v['max']} is allowed."
    ),
    "ToleranceAboveMaxDrop": lambda v: (
        f"the tolerance, {format_ppm(v['tolerance'])} points, is above the greatest drop allowed,"
        f" {format_ppm(v['maxDrop'])}."
    ),
    "MinAccuracyAboveTarget": lambda v: (
        f"the minimum accuracy, {format_ppm(v['minAccuracy'])} %, is above the target,"
        f" {format_ppm(v['targetAccuracy'])} %."
    ),
    "PolicyNotForOpenModels": lambda v: (
        "the policy sets limits that no open model has (as packed:"
        f" {v['excess']:#x}): leave all at 0 but max_drop, min_accuracy, quorum and independent."
    ),
    "QuorumIsZero": lambda _: "the quorum is 0: at least one validator has to agree.",
    "AccessControlBadConfirmation": lambda _: "a role can be renounced only by its holder.",
}


def refusal(data: bytes, errors: Iterable[ErrorABI]) -> ContractRefused:
    """The exception for what a reverted call returned.

    Args:
        data: selector and encoded values, as EIP-838 has them; empty where the node gave none
        errors: the custom errors of the contract's ABI
    """
    for error in errors:
        if keccak256(error.selector.encode())[:4] == data[:4]:
            with suppress(DecodingError):  # else they are not what the error carries
                given = values.decode([item.canonical_type for item in error.inputs], data[4:])
                names = [item.name or "" for item in error.inputs]
                return named_refusal(error.name, dict(zip(names, given, strict=True)))
    what = f"0x{data.hex()}" if data else "no reason"
    return ContractRefused("", {}, f"the contract refused the call and gave {what}.")


class Reverted(Protocol):
    """An error that carries what a node gave with it."""

    @property
    def data(self) -> Any:
        """As the node has it."""


def reverted_with(error: Reverted) -> bytes:
    """What a call reverted with, as far as its node told.

    Most give the bytes as they are. Hardhat's node wraps them as ``data``, and Ganache as
    ``result`` where it was to estimate gas.
    """
    data = error.data
    return _bytes(data.get("data") or data.get("result") if isinstance(data, dict) else data)


def _bytes(text: object) -> bytes:
    try:
        return bytes.fromhex(str(text or "").removeprefix("0x"))
    except ValueError:  # some nodes say "no data"
        return b""


def named_refusal(name: str, carried: Mapping[str, Any]) -> ContractRefused:
    """The exception for a custom error that has been decoded already."""
    sentence = _SENTENCES.get(name)
    text = sentence(carried) if sentence else f"the contract refused with {name}({dict(carried)})."
    return ContractRefused(name, carried, text)
