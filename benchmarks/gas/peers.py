"""What the peers cost: the same jobs, done by contracts that others wrote or recommend.

Each is measured at its best: on a contract that is in use already, where no word is written for the
first time but those of the record itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eth_abi.abi import encode

from benchmarks.gas.chain import gas
from benchmarks.gas.content import (
    CLIENTS,
    HYPERPARAMETERS,
    LOG_METADATA,
    METRICS,
    STATED_REASON,
    TENSORS,
    digest,
    tensor_proof,
)
from ml.storage.cid import Cid, Codec

if TYPE_CHECKING:
    from ape.api import AccountAPI
    from ape.contracts import ContractInstance

    from benchmarks.gas.chain import Costs, Figures
    from benchmarks.gas.peer_contracts import Containers

PUSHES: Final = 300
"""As many as appends of ours are averaged over."""
EAS_BATCH: Final = 50

GANACHE: Final = "Ganache document"
TRACKER: Final = "tracker guide"
PORT: Final = "thesis port"
EAS: Final = "EAS"
TREE: Final = "OpenZeppelin"
FLOOR: Final = "floor"
PORT_REGISTERS: Final = f"registerModelUpdate, {len(CLIENTS)} clients"
PORT_VALIDATES: Final = f"recordValidation, {len(METRICS)} bytes"
PORT_ROLLS_BACK: Final = f"rollbackModel, {len(STATED_REASON)} bytes"
MEAN_PUSH: Final = f"push at depth 20, mean of {PUSHES}"
PROOF: Final = f"MerkleProof of one in {TENSORS}"
STORE_HASH: Final = f"storeHash, {len(LOG_METADATA)} bytes"
NO_ADDRESS: Final = "0x" + 40 * "0"


def measure(containers: Containers, sender: AccountAPI) -> Figures:
    """The gas of every peer's operations, by contract and operation."""

    def deploy(name: str, *arguments: str) -> ContractInstance:
        return sender.deploy(containers[name], *arguments)

    schemas = deploy("SchemaRegistry")
    return {
        GANACHE: _model_storage(deploy("ModelStorage"), sender),
        TRACKER: _ml_provenance(deploy("MLProvenance"), sender),
        PORT: _model_provenance(deploy("ModelProvenance"), sender),
        EAS: _eas(deploy("EAS", schemas.address), schemas, sender),
        TREE: _merkle_tree(deploy("IncrementalTree"), sender),
        FLOOR: _floor(deploy("Floor"), sender),
    }


def _model_storage(contract: ContractInstance, sender: AccountAPI) -> Costs:
    hashes = (digest("weights").hex(), digest("metadata").hex())
    return {"storeModelHash": gas(contract, "storeModelHash", 1, *hashes, sender=sender)}


def _ml_provenance(contract: ContractInstance, sender: AccountAPI) -> Costs:
    stored = (digest("data"), LOG_METADATA)
    return {
        STORE_HASH: gas(contract, "storeHash", *stored, sender=sender),
        "storeHash, the same again": gas(contract, "storeHash", *stored, sender=sender),
        "verifyHash": gas(contract, "verifyHash", digest("data"), sender=sender),
    }


def _model_provenance(contract: ContractInstance, sender: AccountAPI) -> Costs:
    for version in (1, 2, 3):
        registered = gas(contract, "registerModelUpdate", _update(version), sender=sender)
        validation = (f"v{version}", "validator_1", True, METRICS, digest("test set").hex())
        validated = gas(contract, "recordValidation", *validation, sender=sender)
    request = ("v1", STATED_REASON, "operator_1", "manual")
    gas(contract, "rollbackModel", "v3", *request, sender=sender)  # the list's first word
    return {
        PORT_REGISTERS: registered,
        PORT_VALIDATES: validated,
        PORT_ROLLS_BACK: gas(contract, "rollbackModel", "v2", *request, sender=sender),
    }


def _update(version: int) -> tuple[Any, ...]:
    """What the port is told of a version."""
    return (
        f"v{version}",
        f"v{version - 1}" if version > 1 else "",
        version,
        CLIENTS,
        digest(f"weights {version}").hex(),
        digest(f"object {version}").hex(),
        str(Cid(Codec.RAW, digest(f"content {version}"))),
        HYPERPARAMETERS,
    )


def _eas(contract: ContractInstance, schemas: ContractInstance, sender: AccountAPI) -> Costs:
    registered = schemas.register("bytes32 root", NO_ADDRESS, True, sender=sender)
    (schema,) = (event.uid for event in registered.events)
    attested = {
        len(data): contract.attest((schema, _attestation(data)), sender=sender)
        for data in (digest("root"), _evaluated(), _registered())
    }
    (uid,) = (event.uid for event in attested[32].events)
    items = [_attestation(digest(f"root {n}")) for n in range(EAS_BATCH)]
    timestamps = [digest(f"time {n}") for n in range(EAS_BATCH)]
    many = gas(contract, "multiAttest", [(schema, items)], sender=sender)
    several = gas(contract, "multiTimestamp", timestamps, sender=sender)
    return {
        "register a schema": int(registered.gas_used),
        **{f"attest, {size} bytes": int(made.gas_used) for size, made in attested.items()},
        f"multiAttest of {EAS_BATCH}, 32 bytes, per item": round(many / EAS_BATCH),
        "timestamp": gas(contract, "timestamp", digest("time"), sender=sender),
        f"multiTimestamp of {EAS_BATCH}, per item": round(several / EAS_BATCH),
        "revoke": gas(contract, "revoke", (schema, (uid, 0)), sender=sender),
    }


def _attestation(data: bytes) -> tuple[Any, ...]:
    """To nobody, for good, revocable, about no other attestation, without a fee."""
    return (NO_ADDRESS, 0, True, bytes(32), data, 0)


def _evaluated() -> bytes:
    """Version, accuracy, verdict, test set, weights, details: six words, 192 bytes."""
    types = ["uint32", "uint32", "bool", "bytes32", "bytes32", "bytes32"]
    digests = (digest("test set"), digest("weights"), digest("details"))
    return encode(types, [2, 921_300, True, *digests])


def _registered() -> bytes:
    """What the port is told of a version but for its parent, digests as words: 960 bytes."""
    types = ["string", "uint32", "string[]", "bytes32", "bytes32", "string", "string"]
    version, _, number, clients, *_, location, hyperparameters = _update(2)
    digests = (digest("weights 2"), digest("object 2"))
    return encode(types, [version, number, clients, *digests, location, hyperparameters])


def _merkle_tree(contract: ContractInstance, sender: AccountAPI) -> Costs:
    gas(contract, "push", digest("first"), sender=sender)  # which writes every level's first word
    pushes = [gas(contract, "push", digest(f"epoch {n}"), sender=sender) for n in range(PUSHES)]
    proved = tensor_proof()
    proof = (list(proved.siblings), proved.identity.tree_root, proved.tensor.leaf)
    return {
        MEAN_PUSH: round(sum(pushes) / PUSHES),
        PROOF: gas(contract, "verify", *proof, sender=sender),
    }


def _floor(contract: ContractInstance, sender: AccountAPI) -> Costs:
    return {
        name: gas(contract, function, digest(function), sender=sender)
        for name, function in {
            "a call with one word": "nothing",
            "an event": "note",
            "the next of a chain of hashes, an event": "chain",
            "a new word, an event": "store",
        }.items()
    }
