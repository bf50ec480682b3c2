"""Where contracts stand on each chain: ``deployments/<chain-id>.json``, checked against the chain.

The environment variable MODELPROOF_DEPLOYMENTS names another folder.

A record is used only if the chain begins with the recorded genesis block and the recorded code
stands at the address: development chains start over and reuse addresses.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from eth_utils.address import is_address

from ml import files
from ml.artifact import strict_json
from ml.artifact.keccak import keccak256
from ml.errors import ModelproofError

_FORMAT: Final = 2
_KNOWN_FORMATS: Final = (1, 2)
"""Records of format 1 say less: those fields are None."""


class NoDeployment(ModelproofError):
    """Nothing usable is deployed on this chain."""


class ChainFacts(Protocol):
    """What a record is checked against."""

    @property
    def chain_id(self) -> int:
        """The chain's id (EIP-155)."""

    @property
    def genesis(self) -> str:
        """The hash of block 0, as 0x and hex."""

    def code(self, address: str) -> bytes:
        """The code at an address, empty if there is none."""


@dataclass(frozen=True, slots=True)
class Former:
    """A deployment that a later one took the place of; the contract still stands there."""

    address: str
    block: int
    transaction: str | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One contract on one chain. Digests are texts, 0x and hex."""

    contract: str
    address: str
    code_hash: str
    """keccak256 of the code on chain."""
    block: int
    """Where it was created; its events begin there."""
    transaction: str | None
    """What created it; None if that is not known."""
    deployer: str | None
    """Who sent that."""
    abi: list[dict[str, Any]]
    former: tuple[Former, ...] = ()
    """The deployments before this one, oldest first."""
    factory: str | None = None
    """The CREATE2 factory that created it; None if an account did."""
    salt: str | None = None
    """What the factory was given besides the code."""
    init_code_hash: str | None = None
    """keccak256 of the code that created it: address = f(factory, salt, this) (EIP-1014)."""
    compiler: str | None = None
    """Its version, as block explorers name it."""
    compiler_input_sha256: str | None = None
    """Of the standard JSON that the code was compiled from."""


def path_for(chain_id: int) -> Path:
    """The file that holds the records of a chain."""
    return Path(os.environ.get("MODELPROOF_DEPLOYMENTS", "deployments")) / f"{chain_id}.json"


def hash_code(code: bytes) -> str:
    """The hash by which a record knows its code."""
    return "0x" + keccak256(code).hex()


def recorded(chain: ChainFacts) -> dict[str, Deployment]:
    """The records of this very chain, by the contracts' names; none of one that started over.

    Raises:
        ModelproofError: there is a file, but not one of records.
    """
    path = path_for(chain.chain_id)
    if not path.exists():
        return {}
    genesis, contracts = _read(path)
    return contracts if genesis == chain.genesis else {}


def save(deployment: Deployment, chain: ChainFacts) -> Deployment:
    """Write a record beside the others of the same chain, after reading the code back from it.

    Records of a chain that has started over are dropped. A record of the same contract whose code
    still stands becomes one of the new record's former ones.

    Returns:
        The record as it was written.

    Raises:
        NoDeployment: the code is not on the chain.
        ModelproofError: the file that is there is not one of records.
    """
    _check_code(deployment, chain)
    before = standing(deployment.contract, chain)
    if before is not None:
        replaced = Former(before.address, before.block, before.transaction)
        is_another = before.address != deployment.address
        former = (*before.former, replaced) if is_another else before.former
        deployment = replace(deployment, former=former)
    contracts = {**recorded(chain), deployment.contract: deployment}
    document = {
        "format": _FORMAT,
        "chainId": chain.chain_id,
        "genesis": chain.genesis,
        "contracts": {name: asdict(record) for name, record in contracts.items()},
    }
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    files.write_text(path_for(chain.chain_id), text)
    return deployment


def load(contract: str, chain: ChainFacts) -> Deployment:
    """The record of a contract, checked against the chain.

    Raises:
        NoDeployment: there is no record, it is of another chain, or the code is not there.
        ModelproofError: the file that is there is not one of records.
    """
    path = path_for(chain.chain_id)
    if not path.exists():
        raise NoDeployment(
            f"no {contract} is deployed on chain {chain.chain_id}: run `ape run deploy` first."
        )
    genesis, contracts = _read(path)
    if genesis != chain.genesis:
        raise NoDeployment(
            f"{path} is of another chain with the id {chain.chain_id}, which began with block"
            f" {genesis[:10]}…, this one with {chain.genesis[:10]}…:"
            " run `ape run deploy` on this one."
        )
    if contract not in contracts:
        raise NoDeployment(f"{path} has no record of {contract}: run `ape run deploy`.")
    _check_code(contracts[contract], chain)
    return contracts[contract]


def standing(contract: str, chain: ChainFacts) -> Deployment | None:
    """The recorded contract that can be used on this chain, or None.

    Raises:
        ModelproofError: the file that is there is not one of records.
    """
    try:
        return load(contract, chain)
    except NoDeployment:
        return None


def _check_code(deployment: Deployment, chain: ChainFacts) -> None:
    code = chain.code(deployment.address)
    where = f"{deployment.contract} at {deployment.address} on chain {chain.chain_id}"
    if not code:
        raise NoDeployment(f"there is no code of {where}: run `ape run deploy`.")
    if hash_code(code) != deployment.code_hash:
        raise NoDeployment(
            f"the code of {where} is not the recorded one: run `ape run deploy`, and if the chain"
            " is public, find out who wrote the record."
        )


def _read(path: Path) -> tuple[str, dict[str, Deployment]]:
    """A file's genesis block, and its records by the contracts' names."""
    document = strict_json.read(path)
    if (
        not isinstance(document, dict)
        or document.get("format") not in _KNOWN_FORMATS
        or not isinstance(document.get("genesis"), str)
        or not isinstance(document.get("contracts"), dict)
    ):
        raise _malformed(path)
    contracts = {}
    for name, fields in document["contracts"].items():
        contract = _deployment(fields)
        if contract is None:
            raise _malformed(path)
        contracts[name] = contract
    return document["genesis"], contracts


def _deployment(fields: object) -> Deployment | None:
    """A record, if that is what the fields make."""
    try:
        deployment = Deployment(**fields)  # type: ignore[arg-type]
        former = tuple(Former(**each) for each in deployment.former)  # type: ignore[arg-type]
    except TypeError:
        return None
    optional = (
        deployment.deployer,
        deployment.factory,
        deployment.salt,
        deployment.init_code_hash,
        deployment.compiler,
        deployment.compiler_input_sha256,
    )
    sound = (
        isinstance(deployment.contract, str)
        and isinstance(deployment.code_hash, str)
        and all(text is None or isinstance(text, str) for text in optional)
        and _is_place(deployment)
        and all(map(_is_place, former))
        and isinstance(deployment.abi, list)
    )
    return replace(deployment, former=former) if sound else None


def _is_place(place: Deployment | Former) -> bool:
    """Whether the fields that say where a contract stands are of the right form."""
    return (
        is_address(place.address)
        and type(place.block) is int
        and place.block >= 0
        and (place.transaction is None or isinstance(place.transaction, str))
    )


def _malformed(path: Path) -> ModelproofError:
    return ModelproofError(
        f"{path} is not a deployments file of format {_FORMAT}: restore it, or move it away and"
        " run `ape run deploy`."
    )
