"""The contracts that ours are measured beside: compiled or unpacked, and ready to be deployed.

Those in ``peers/contracts`` are compiled like ours, by the same compiler with the same settings, so
that these make no difference. EAS's come compiled, in its own npm package, as EAS deploys them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TypeAlias

import solcx
from ape import project
from ape.contracts import ContractContainer
from ethpm_types import ContractType

from ml.errors import ModelproofError

PEERS: Final = Path(__file__).parents[1] / "peers"
SOURCES: Final = PEERS / "contracts"
EAS_PACKAGE: Final = PEERS / "node_modules/@ethereum-attestation-service/eas-contracts"

Containers: TypeAlias = dict[str, ContractContainer]
"""Contracts by name."""


def load() -> Containers:
    """All of them.

    Raises:
        ModelproofError: EAS's package is not installed, or a contract does not compile.
    """
    return {**_attestation_service(), **_compiled()}


def _attestation_service() -> Containers:
    """EAS's own."""
    containers = {}
    for name in ("SchemaRegistry", "EAS"):
        artifact = EAS_PACKAGE / f"artifacts/contracts/{name}.sol/{name}.json"
        if not artifact.is_file():
            raise ModelproofError("EAS's contracts are not installed: run `make bench-gas`.")
        known = json.loads(artifact.read_text())
        containers[name] = _container(name, known["abi"], known["bytecode"])
    return containers


def _compiled() -> Containers:
    """Those of ``peers/contracts``."""
    settings = project.config.solidity
    request = {
        "language": "Solidity",
        "sources": {path.name: {"content": path.read_text()} for path in SOURCES.glob("*.sol")},
        "settings": {
            "remappings": [str(remapping) for remapping in settings.import_remapping],
            "optimizer": {"enabled": settings.optimize, "runs": settings.optimization_runs},
            "evmVersion": str(settings.evm_version),
            "viaIR": settings.via_ir,
            "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
        },
    }
    try:
        compiled = solcx.compile_standard(request, solc_version=str(settings.version))
    except solcx.exceptions.SolcError as error:
        raise ModelproofError(f"a peer does not compile: {error}") from error
    return {
        name: _container(name, contract["abi"], contract["evm"]["bytecode"]["object"])
        for source in request["sources"]
        for name, contract in compiled["contracts"][source].items()
    }


def _container(name: str, abi: list[dict[str, Any]], bytecode: str) -> ContractContainer:
    described = {"contractName": name, "abi": abi, "deploymentBytecode": {"bytecode": bytecode}}
    return ContractContainer(ContractType.model_validate(described))
